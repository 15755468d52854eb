"""LeGrad against a loop with autograd's own attention, and on a planted token."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lookalike.errors import UnsupportedMethodError
from lookalike.explainers import LeGrad
from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder
from lookalike.models.network import assemble

SIZE, GRID = (64, 96), (4, 6)
TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3}


@pytest.fixture
def make(tiny_backbone):
    def embedder(pooling, architecture="vit_tiny_patch16_224", **options):
        preprocessing = Preprocessing("squash", SIZE)
        backbone = tiny_backbone(architecture, SIZE, **(TINY | options))
        network = assemble(backbone, {"name": pooling}, None, preprocessing)
        return Embedder(network, preprocessing, name="tiny", device="cpu")

    return embedder


@pytest.mark.parametrize(("pooling", "registers"), [("mean", 2), ("cls", 0)])
def test_the_map_is_the_formula_of_the_paper(pooling, registers, make, pictures):
    """Each layer written out with the weights of timm's own layers, for a pre-norm ViT."""
    embedder = make(pooling, reg_tokens=registers)
    model, n_prefix = embedder.network.backbone.model, 1 + registers
    other = embedder.embed(pictures[2])[0]
    x = model._pos_embed(model.patch_embed(embedder.tensor(pictures[1])[0]))
    expected = torch.zeros(24)
    for block in model.blocks:
        qkv = block.attn.qkv(block.norm1(x)).reshape(1, -1, 3, 3, 8).permute(2, 0, 3, 1, 4)
        attention = (qkv[0] @ qkv[1].mT / 8**0.5).softmax(-1).requires_grad_()
        mixed = (attention @ qkv[2]).transpose(1, 2).flatten(2)
        after = x + block.attn.proj(mixed)
        after = after + block.mlp(block.norm2(after))
        normed = model.norm(after)[0]
        pooled = normed[0] if pooling == "cls" else normed[n_prefix:].mean(0)
        (gradient,) = torch.autograd.grad(F.cosine_similarity(pooled, other, dim=0), attention)
        expected += gradient[0].clamp(min=0).mean((0, 1))[n_prefix:] / 2
        x = after.detach()

    why = LeGrad(embedder)(pictures[1], pictures[2])
    assert expected.max() > 0
    np.testing.assert_allclose(why.query_map.ravel(), expected.numpy(), rtol=1e-3, atol=1e-9)


def test_attention_to_the_token_that_is_like_the_other_image_counts_most(make, pictures):
    """Values that only the planted token has: only attention to it can move the embedding."""
    embedder = make("mean", depth=1, class_token=False, global_pool="avg")
    model = embedder.network.backbone.model
    direction = torch.randn(24, generator=torch.Generator().manual_seed(1))
    block = model.blocks[0]
    block.attn.qkv.weight[48:] = torch.eye(24)
    block.attn.qkv.bias[48:] = 0
    block.attn.proj.weight.copy_(torch.eye(24))
    block.norm1 = torch.nn.Identity()
    embed = model._pos_embed

    def planted(x):
        tokens = torch.zeros_like(embed(x))
        tokens[:, 15] = direction
        return tokens + 1e-3 * embed(x)

    model._pos_embed = planted
    why = LeGrad(embedder)(pictures[0], pictures[0])
    assert divmod(int(why.query_map.argmax()), 6) == (2, 3)
    assert why.query_map.min() >= 0


@pytest.mark.parametrize("architecture", ["resnet10t", "convnext_atto"])
def test_a_convolutional_network_is_refused_by_name(architecture, pictures):
    embedder = Embedder.from_timm(
        architecture, pretrained=False, input_size=SIZE, name="my-cnn", device="cpu"
    )
    with pytest.raises(UnsupportedMethodError, match=r"legrad needs a vision transformer.*my-cnn.*occlusion"):
        LeGrad(embedder)(pictures[0], pictures[1])
