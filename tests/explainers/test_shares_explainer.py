"""Shares between two images: differences, cell matches, and a square planted where it must be found."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from lookalike.errors import UnsupportedMethodError
from lookalike.explainers import difference, explain, place_matches
from lookalike.explainers.shares import SharesExplainer
from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder
from lookalike.models.network import EmbeddingNetwork
from lookalike.models.poolings import MeanPooling
from lookalike.ops.regrid import box_coverage
from lookalike.types import Features


class ColorBackbone(nn.Module):
    """Features are the mean colors of 5 x 7 cells: what is seen where is known exactly."""

    architecture, is_convolutional, options = "colors", False, {}
    grid = (5, 7)

    def forward(self, images):
        cells = nn.functional.adaptive_avg_pool2d(images, self.grid)
        cells = cells.flatten(2).transpose(1, 2)
        return Features(cells, cells[:, :0], self.grid)

    def trace(self, images):
        from lookalike.types import Trace

        return Trace(self(images), (), None)


def color_embedder(mode, crop_pct=1.0):
    preprocessing = Preprocessing(mode, (50, 84), crop_pct, "bilinear", mean=(0, 0, 0), std=(1, 1, 1))
    network = EmbeddingNetwork(ColorBackbone(), MeanPooling())
    return Embedder(network, preprocessing, name="colors", precision="fp32", device="cpu")


def planted(size, box, color):
    """A black picture of (H, W) pixels with one colored rectangle (left, top, right, bottom)."""
    image = Image.new("RGB", (size[1], size[0]))
    image.paste(color, box)
    return image


@pytest.mark.parametrize(("mode", "crop_pct"), [("squash", 1.0), ("crop", 0.8), ("letterbox", 1.0)])
@pytest.mark.parametrize("size", [(131, 311), (299, 153)])
def test_a_planted_square_is_found_where_it_lies(mode, crop_pct, size):
    """Red is shared, green and blue are not: the map must peak on the red square of each image."""
    height, width = size
    red = (int(width * 0.55), int(height * 0.35), int(width * 0.55) + 24, int(height * 0.35) + 22)
    query = planted(size, red, (255, 0, 0))
    query.paste(
        (0, 255, 0), (int(width * 0.3), int(height * 0.55), int(width * 0.3) + 24, int(height * 0.55) + 22)
    )
    match = planted((97, 141), (60, 20, 85, 45), (255, 0, 0))

    why = SharesExplainer(color_embedder(mode, crop_pct))(query, match)

    row, column = divmod(int(why.query_map.argmax()), why.query_map.shape[1])
    left, top, right, bottom = why.query_geometry.cell_box(row, column, why.query_map.shape)
    assert left < red[2] and right > red[0] and top < red[3] and bottom > red[1]
    inside = (box_coverage(why.query_geometry, red, why.query_map.shape) > 0).numpy()
    assert np.abs(why.query_map[~inside]).max() < 1e-6  # green and black share nothing with red


def test_a_difference_is_positive_where_the_preferred_match_agrees():
    query = planted((60, 84), (0, 0, 24, 24), (255, 0, 0))
    query.paste((0, 0, 255), (60, 36, 84, 60))
    red, blue = (
        planted((60, 84), (20, 20, 60, 50), (255, 0, 0)),
        planted((60, 84), (20, 20, 60, 50), (0, 0, 255)),
    )

    result = difference(query, red, blue, model=color_embedder("squash"))

    assert result.query_map[0, 0] > 0 > result.query_map[-1, -1]
    assert result.residual == pytest.approx(0, abs=1e-6)
    assert result.preferred_similarity == pytest.approx(result.other_similarity, abs=1e-6)


def test_affinity_sums_give_both_maps(pictures):
    embedder = color_embedder("crop", 0.9)
    result = place_matches(pictures[0], pictures[1], model=embedder)
    why = SharesExplainer(embedder)(pictures[0], pictures[1])
    np.testing.assert_allclose(result.values.sum(1).reshape(why.query_map.shape), why.query_map, atol=1e-6)
    np.testing.assert_allclose(result.values.sum(0).reshape(why.match_map.shape), why.match_map, atol=1e-6)
    assert result.similarity == pytest.approx(why.similarity)


def test_cells_of_the_same_color_match_each_other():
    """Three colored cells, moved: each must find its own color again."""
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    here, there = [(0, 0), (2, 3), (4, 6)], [(3, 1), (0, 5), (2, 0)]
    query, match = Image.new("RGB", (84, 50)), Image.new("RGB", (84, 50))
    for color, (r, c), (s, d) in zip(colors, here, there, strict=True):
        query.paste(color, (12 * c, 10 * r, 12 * c + 12, 10 * r + 10))
        match.paste(color, (12 * d, 10 * s, 12 * d + 12, 10 * s + 10))
    result = place_matches(query, match, model=color_embedder("squash"))
    assert {(m.query_cell, m.match_cell) for m in result.matches} == set(zip(here, there, strict=True))
    assert all(m.cosine == pytest.approx(1) for m in result.matches)
    assert sum(m.contribution for m in result.matches) == pytest.approx(result.similarity, abs=1e-6)


def test_shares_follow_the_published_formula(pictures):
    """WACV 2019: cell i of A gives a_i . b / (N |a| |b|), here as a double loop over cells."""
    embedder = color_embedder("squash")
    why = SharesExplainer(embedder)(pictures[0], pictures[2])
    with torch.no_grad():
        a = embedder.network.backbone(embedder.tensor(pictures[0])[0]).cells[0].double()
        b = embedder.network.backbone(embedder.tensor(pictures[2])[0]).cells[0].double()
    norm = a.mean(0).norm() * b.mean(0).norm() * len(a) * len(b)
    expected = [sum(float(a_i @ b_j) for b_j in b) / float(norm) for a_i in a]
    np.testing.assert_allclose(why.query_map.flatten(), expected, atol=1e-7)


@pytest.mark.parametrize("layer", [0, 2, -1, "1"])
def test_maps_of_a_layer_sum_to_the_same_similarity(pictures, layer):
    embedder = Embedder.load("mini-vit", device="cpu")
    plain = explain(pictures[0], pictures[2], model=embedder)
    why = explain(pictures[0], pictures[2], model=embedder, layer=layer)
    parts = sum(value for _, value in why.query.residual_parts)
    assert why.additive and why.similarity == pytest.approx(plain.similarity, abs=1e-5)
    assert why.query.total + parts == pytest.approx(why.similarity, abs=1e-5)
    assert why.residual == pytest.approx(parts, abs=1e-5)


def test_a_layer_of_a_convolutional_network_has_a_finer_grid(pictures):
    why = explain(pictures[0], pictures[2], model="mini", layer=2)
    plain = explain(pictures[0], pictures[2], model="mini")
    assert why.query.grid == (40, 40) and plain.query.grid == (10, 10)
    assert why.query.total == pytest.approx(plain.similarity, abs=1e-5)


def test_what_is_no_layer_is_refused(pictures):
    with pytest.raises(ValueError, match="'last' or a whole number"):
        explain(pictures[0], pictures[2], model="mini", layer="first")
    with pytest.raises(UnsupportedMethodError, match="layers 0 to 6"):
        explain(pictures[0], pictures[2], model="mini", layer=7)
