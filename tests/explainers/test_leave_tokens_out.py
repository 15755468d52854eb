"""Leave tokens out: analytic drops, masks of attention as an oracle, and what is refused."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lookalike.errors import UnsupportedMethodError
from lookalike.explainers import LeaveTokensOut
from lookalike.explainers.leave_tokens_out import embed_without
from lookalike.explainers.token_layers import TokenLayers
from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder
from lookalike.models.network import assemble

SIZE, GRID = (80, 112), (5, 7)
TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3}


@pytest.fixture
def make(tiny_backbone):
    def embedder(pooling, architecture="vit_tiny_patch16_224", **options):
        preprocessing = Preprocessing("squash", SIZE)
        backbone = tiny_backbone(architecture, SIZE, **(TINY | options))
        network = assemble(backbone, {"name": pooling}, None, preprocessing)
        return Embedder(network, preprocessing, name="tiny", device="cpu")

    return embedder


def layers_of(embedder, picture):
    return TokenLayers(embedder, embedder.read(picture), method="test")


@pytest.mark.parametrize("cells", [2, 8])
def test_without_attention_and_mlp_a_drop_is_that_of_a_mean_without_the_block(cells, make, pictures):
    embedder = make("mean", class_token=False, global_pool="avg")
    model = embedder.network.backbone.model
    for block in model.blocks:
        for layer in (block.attn.proj, block.mlp.fc2):
            layer.weight.zero_()
            layer.bias.zero_()
    tokens, other = (
        model.norm(model._pos_embed(model.patch_embed(embedder.tensor(each)[0])))[0] for each in pictures[:2]
    )
    why = LeaveTokensOut(embedder, cells=cells)(pictures[0], pictures[1])

    rows, columns = ([0, 2, 5], [0, 2, 4, 5, 7]) if cells == 2 else (range(6), range(8))
    expected = np.zeros(GRID)
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            inside = torch.zeros(GRID, dtype=torch.bool)
            inside[top:bottom, left:right] = True
            rest = tokens[~inside.flatten()].mean(0)
            without = float(F.cosine_similarity(rest, other.mean(0), dim=0))
            expected[inside.numpy()] = (why.similarity - without) / int(inside.sum())
    np.testing.assert_allclose(why.query_map, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("pooling", "architecture", "options"),
    [
        ("mean", "vit_tiny_patch16_224", {"reg_tokens": 2}),
        ("cls", "vit_tiny_patch16_224", {}),
        ("gem", "vit_tiny_patch16_224", {"class_token": False, "global_pool": "avg"}),
        ("mean", "vit_small_patch16_dinov3", {"init_values": 1.0}),  # rotary positions, CLS and registers
        ("cls", "vit_small_patch16_dinov3", {"init_values": 1.0}),
    ],
)
def test_leaving_out_is_hiding_tokens_from_attention_and_pooling(
    pooling, architecture, options, make, pictures
):
    """The oracle keeps all tokens and hides the dropped ones from every other by a mask."""
    embedder = make(pooling, architecture, **options)
    layers = layers_of(embedder, pictures[3])
    dropped = torch.tensor([3, 4, 10, 11])
    hidden = torch.zeros(layers.n_prefix + 35, dtype=torch.bool)
    hidden[dropped + layers.n_prefix] = True
    with torch.no_grad():
        tokens = layers.blocks[0].tokens
        for number in range(len(layers.blocks)):
            tokens = layers.run(number, tokens, attn_mask=~hidden[None, None, None])
        expected = layers.embed(tokens[:, ~hidden], (1, 31))
        found = embed_without(layers, torch.stack([dropped, dropped + 21]))
    torch.testing.assert_close(found[:1], expected, atol=1e-5, rtol=0)
    assert float((found[1] - found[0]).norm()) > 1e-4


def test_dropping_nothing_gives_the_plain_embedding(make, pictures):
    embedder = make("mean", reg_tokens=2)
    with torch.no_grad():
        found = embed_without(layers_of(embedder, pictures[2]), torch.zeros(1, 0, dtype=torch.long))
    torch.testing.assert_close(found, embedder.embed(pictures[2]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("architecture", "options", "reason"),
    [
        ("beit_base_patch16_224", TINY, "relative positions"),
        ("resnet10t", {}, "needs a vision transformer"),
        ("mixer_s32_224", {}, "needs a vision transformer"),
    ],
)
def test_models_whose_tokens_cannot_be_left_out_are_refused(architecture, options, reason, pictures):
    embedder = Embedder.from_timm(architecture, pretrained=False, pooling="mean", device="cpu", **options)
    with pytest.raises(UnsupportedMethodError, match=rf"leave-tokens-out needs .*{reason.split()[-1]}"):
        LeaveTokensOut(embedder)(pictures[0], pictures[1])


def test_a_pooling_over_regions_is_refused(make, pictures):
    with pytest.raises(UnsupportedMethodError, match="order of tokens does not matter"):
        LeaveTokensOut(make("rmac"))(pictures[0], pictures[1])


def test_all_of_the_image_cannot_be_left_out(make):
    with pytest.raises(ValueError, match="2 or more and batch_size 1; got 1 and 32"):
        LeaveTokensOut(make("mean"), cells=1)
