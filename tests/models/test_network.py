import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lookalike.errors import LookalikeError, UnsupportedMethodError
from lookalike.images import Preprocessing
from lookalike.models.network import EmbeddingNetwork, assemble
from made_heads import HEADS

SIZE = (48, 80)  # a 3 x 5 grid of patches
SQUASH = Preprocessing("squash", SIZE)
TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3}
NAMES = ["own", "cls", "mean", "max", "gem", "avgmax", "rmac"]


@pytest.fixture(scope="module")
def vit(tiny_backbone):
    backbone = tiny_backbone("vit_small_patch14_reg4_dinov2", (42, 70), **TINY)
    for block in backbone.model.blocks:  # fresh layer scales are 1e-5: the blocks would do nothing
        block.ls1.gamma.fill_(0.7)
        block.ls2.gamma.fill_(0.9)
    return backbone


@pytest.mark.parametrize("pooling", NAMES)
@torch.inference_mode()
def test_shares_sum_to_the_embedding_with_prefix_tokens_and_every_head(pooling, vit, noise):
    images = noise(2, 3, 42, 70)
    for name, head in HEADS.items():
        network = assemble(vit, {"name": pooling}, head(24).eval(), Preprocessing("squash", (42, 70)))
        shares, expected = network.shares(images).values, network(images)
        error = (shares.sum(1) - expected).norm(dim=1) / expected.norm(dim=1)
        assert float(error.max()) <= 1e-5, name


@pytest.mark.parametrize("pooling", ["own", "cls", "gem"])
@torch.inference_mode()
def test_a_traced_forward_pass_has_the_same_shares(pooling, vit, noise):
    images = noise(2, 3, 42, 70)
    network = assemble(vit, {"name": pooling}, HEADS["affine"](24), Preprocessing("squash", (42, 70)))
    assert_close(network.shares_of(vit.trace(images)).values, network.shares(images).values)


@torch.inference_mode()
def test_the_residual_of_cls_is_what_cls_brought_itself(vit, noise):
    """With the last block switched off, nothing comes from the cells."""
    images = noise(1, 3, 42, 70)
    last = vit.model.blocks[-1]
    before = last.ls1.gamma.clone()
    last.ls1.gamma.zero_()
    shares = assemble(vit, {"name": "cls"}, None, SQUASH).shares(images).values[0]
    last.ls1.gamma.copy_(before)
    # what remains on the cells is the norm's bias, spread evenly
    assert_close(shares[:-1], shares[:1].expand(15, -1), rtol=0, atol=1e-5)


@torch.inference_mode()
def test_cls_shares_equal_the_forward_pass_with_cells_cut_off(vit, noise):
    """Only values of the last attention change, its weights stay: the cut part is exact for one layer."""
    images = noise(1, 3, 42, 70)
    network = assemble(vit, {"name": "cls"}, None, SQUASH)
    trace = vit.trace(images)
    call = trace.attention[-1]
    block = vit.model.blocks[-1]
    taken = (call.weights[:, :, 0, 5:, None] * call.value[:, :, 5:]).transpose(1, 2).flatten(2)  # (1, N, A d)
    from_cells = (taken.sum(1) @ block.attn.proj.weight.T) * block.ls1.gamma
    after = network.pooling._after_attention.module
    through = (taken @ after[1].weight.T) * block.ls1.gamma
    assert_close(through.sum(1), from_cells)


def test_cls_pooling_of_a_convolutional_network_is_refused(tiny_backbone):
    with pytest.raises(UnsupportedMethodError, match="test_resnet has none, use 'mean'"):
        assemble(tiny_backbone("test_resnet"), {"name": "cls"}, None, SQUASH)


@torch.inference_mode()
def test_an_end_that_is_not_understood_embeds_but_is_not_explained(tiny_backbone, noise):
    backbone = tiny_backbone("xcit_nano_12_p16_224", embed_dim=24, num_heads=3, depth=1)
    network = assemble(backbone, {"name": "own"}, None, SQUASH).eval()
    images = noise(1, 3, *SIZE)
    assert_close(network(images), backbone.own_embedding(images))
    with pytest.raises(
        UnsupportedMethodError, match="use method 'occlusion', or load it with pooling 'mean'"
    ):
        network.shares(images)
    assert network.describe_pooling() == {"name": "own"}


@torch.inference_mode()
def test_shares_that_do_not_sum_to_the_embedding_are_refused(tiny_backbone, noise):
    class Forgetful(nn.Module):
        def forward(self, features):
            return features.cells.mean(1)

        def shares(self, trace):
            return torch.cat([trace.features.cells, trace.features.cells[:, :1]], dim=1)

    network = EmbeddingNetwork(tiny_backbone("test_resnet"), Forgetful()).eval()
    with pytest.raises(UnsupportedMethodError, match="the shares of test_resnet miss"):
        network.shares(noise(1, 3, 64, 96))


def test_an_input_that_does_not_fit_is_refused_in_one_sentence(tiny_backbone):
    backbone = tiny_backbone("vit_tiny_patch16_224", SIZE, **TINY)
    with pytest.raises(LookalikeError, match=r"can't take input of 64x64.*choose another input size"):
        assemble(backbone, {"name": "own"}, None, Preprocessing("squash", (64, 64)))
