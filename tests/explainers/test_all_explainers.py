"""One contract for every method: shapes, signs, sums, and a model that is left as it was."""

import numpy as np
import pytest
import torch

import lookalike
from lookalike.errors import UnknownNameError, UnsupportedMethodError
from lookalike.explainers import EXPLAINERS, make_explainer
from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder
from lookalike.models.network import assemble

ADDITIVE = {"shares", "rollout-conserving", "transport"}
ON_ANY_MODEL = set(EXPLAINERS) - {"avsl"}  # which asks for a graph of nodes: see test_avsl_explainer
GRID, SIZE = (4, 6), (64, 96)  # not square, h != w != D


@pytest.fixture
def vit(tiny_backbone):
    """A ViT with CLS and registers, averaged over its patch tokens."""
    backbone = tiny_backbone(
        "vit_tiny_patch16_224", SIZE, embed_dim=24, depth=3, num_heads=3, class_token=True, reg_tokens=2
    )
    return embedder(backbone, "mean")


@pytest.fixture
def cnn(tiny_backbone):
    return embedder(tiny_backbone("resnet10t", SIZE, channels=(8, 12, 16, 20), output_stride=16), "mean")


def embedder(backbone, pooling, mode="crop"):
    preprocessing = Preprocessing(mode, SIZE, 0.9, "bilinear")
    network = assemble(backbone, {"name": pooling}, None, preprocessing)
    return Embedder(network, preprocessing, name="tiny", precision="fp32", device="cpu")


@pytest.mark.parametrize("method", sorted(ON_ANY_MODEL))
def test_every_method_keeps_the_contract(method, vit, pictures):
    before = {name: tensor.clone() for name, tensor in vit.network.state_dict().items()}
    hooks = sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in vit.network.modules())

    why = make_explainer(vit, method)(pictures[1], pictures[2])

    assert why.method == method
    assert why.query_map.dtype == why.match_map.dtype == np.float32
    assert why.query_map.ndim == why.match_map.ndim == 2
    if method != "occlusion":  # which has a grid of its own
        assert why.query_map.shape == why.match_map.shape == GRID
    assert np.isfinite(why.query_map).all() and np.isfinite(why.match_map).all()
    assert -1.0001 <= why.similarity <= 1.0001
    assert why.additive == (method in ADDITIVE)
    assert why.query_geometry.original_size == pictures[1].size[::-1]
    assert why.match_geometry.original_size == pictures[2].size[::-1]
    after = vit.network.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert hooks == sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in vit.network.modules())
    assert not any(parameter.requires_grad for parameter in vit.network.parameters())


@pytest.mark.parametrize("method", sorted(ON_ANY_MODEL - {"transport"}))  # whose score is another
def test_methods_agree_on_the_similarity(method, vit, pictures):
    expected = torch.nn.functional.cosine_similarity(*vit.embed(pictures[1:3]), dim=0)
    similarity = make_explainer(vit, method)(pictures[1], pictures[2]).similarity
    assert similarity == pytest.approx(float(expected), abs=2e-3)  # occlusion reads pictures at 640 pixels


@pytest.mark.parametrize("method", sorted(ON_ANY_MODEL))
def test_exchanging_the_images_exchanges_the_maps(method, vit, pictures):
    explainer = make_explainer(vit, method)
    forth, back = explainer(pictures[0], pictures[3]), explainer(pictures[3], pictures[0])
    np.testing.assert_allclose(forth.query_map, back.match_map, atol=1e-6)
    np.testing.assert_allclose(forth.match_map, back.query_map, atol=1e-6)


@pytest.mark.parametrize("method", sorted(ADDITIVE))
@pytest.mark.parametrize("pooling", ["mean", "max", "gem", "cls"])
def test_additive_maps_and_residual_sum_to_the_similarity(method, pooling, tiny_backbone, pictures):
    backbone = tiny_backbone(
        "vit_tiny_patch16_224", SIZE, embed_dim=24, depth=3, num_heads=3, class_token=True, reg_tokens=2
    )
    why = make_explainer(embedder(backbone, pooling), method)(pictures[1], pictures[3])
    assert why.query_map.sum() + why.residual == pytest.approx(why.similarity, abs=1e-6)
    if pooling != "cls" and method == "shares":
        assert abs(why.residual) < 1e-5 and abs(why.match_residual) < 1e-5


@pytest.mark.parametrize("method", sorted(ON_ANY_MODEL - ADDITIVE))
def test_heat_maps_have_no_residual(method, vit, pictures):
    why = make_explainer(vit, method)(pictures[1], pictures[3])
    with pytest.raises(ValueError, match="heat map"):
        why.residual  # noqa: B018


def test_identical_images_have_similarity_one_and_equal_maps(cnn, pictures):
    why = lookalike.explain(pictures[0], pictures[0], model=cnn)
    assert why.similarity == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(why.query_map, why.match_map)


@pytest.mark.parametrize("method", ["rollout", "rollout-conserving"])
def test_rollout_is_refused_without_attention(method, cnn, pictures):
    with pytest.raises(UnsupportedMethodError, match="attention"):
        lookalike.explain(pictures[0], pictures[1], model=cnn, method=method)


def test_gradcam_is_refused_for_a_cls_embedding(tiny_backbone, pictures):
    backbone = tiny_backbone("vit_tiny_patch16_224", SIZE, embed_dim=24, depth=2, num_heads=3)
    with pytest.raises(UnsupportedMethodError, match="CLS"):
        lookalike.explain(pictures[0], pictures[1], model=embedder(backbone, "cls"), method="gradcam")


def test_an_unknown_method_is_named_with_those_there_are(cnn, pictures):
    with pytest.raises(UnknownNameError, match=r"shares.*'magic'"):
        lookalike.explain(pictures[0], pictures[1], model=cnn, method="magic")
