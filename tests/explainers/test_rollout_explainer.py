"""The paired rollout of a whole model against the formula written out with matrices."""

import numpy as np
import pytest
import torch

from lookalike.explainers import ConservingRollout, Rollout
from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder
from lookalike.models.network import assemble

SIZE = (48, 80)  # a 3 x 5 grid of patches


@pytest.fixture
def vit(tiny_backbone):
    backbone = tiny_backbone(
        "vit_tiny_patch16_224", SIZE, embed_dim=24, depth=3, num_heads=3, class_token=True, reg_tokens=2
    )
    preprocessing = Preprocessing("squash", SIZE, 1.0, "bilinear")
    network = assemble(backbone, {"name": "mean"}, None, preprocessing)
    return Embedder(network, preprocessing, name="tiny", precision="fp32", device="cpu")


def by_matrices(vit, query, match, fusion, first_layer, transposed):
    """R @ map or R^T @ map with the full product of the layers' transitions."""
    with torch.no_grad():
        trace = vit.network.backbone.trace(vit.tensor(query)[0])
        other = vit.network.backbone(vit.tensor(match)[0]).cells[0].double().mean(0)
    cells = trace.features.cells[0].double()
    values = cells @ other / (len(cells) * cells.mean(0).norm() * other.norm())
    values = torch.cat([torch.zeros(3, dtype=torch.float64), values])  # CLS and two registers
    product = torch.eye(18, dtype=torch.float64)
    for call in trace.attention[first_layer:]:
        weights = call.weights[0].double()
        fused = {"mean": weights.mean(0), "min": weights.amin(0), "max": weights.amax(0)}[fusion]
        transition = fused + torch.eye(18)
        product = transition / transition.sum(1, keepdim=True) @ product
    rolled = (product.T if transposed else product) @ values
    return rolled[3:].reshape(3, 5).numpy()


@pytest.mark.parametrize("fusion", ["mean", "min", "max"])
@pytest.mark.parametrize("first_layer", [0, 1])
@pytest.mark.parametrize("explainer", [Rollout, ConservingRollout])
def test_maps_equal_the_product_of_matrices(explainer, fusion, first_layer, vit, pictures):
    why = explainer(vit, fusion=fusion, first_layer=first_layer)(pictures[0], pictures[1])
    transposed = explainer is ConservingRollout
    expected = by_matrices(vit, pictures[0], pictures[1], fusion, first_layer, transposed)
    np.testing.assert_allclose(why.query_map, expected, atol=1e-6)


def test_what_ends_on_prefix_tokens_is_the_residual(vit, pictures):
    why = ConservingRollout(vit)(pictures[0], pictures[1])
    assert why.residual == pytest.approx(why.similarity - float(why.query_map.sum()), abs=1e-6)
    assert abs(why.residual) > 1e-4  # some of the attention does go to CLS and registers


def test_a_layer_beyond_the_last_is_refused(vit, pictures):
    with pytest.raises(ValueError, match="first_layer must be 0 to 2"):
        Rollout(vit, first_layer=3)(pictures[0], pictures[1])
