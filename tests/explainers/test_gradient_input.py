"""Gradient times input, on networks whose gradient is known."""

import numpy as np
import pytest
import torch

from lookalike.errors import UnsupportedMethodError
from lookalike.explainers import GradientInput
from lookalike.models.embedder import Embedder


def angle(embedder, image):
    """The angle of an image and its tensor (1, 3, H, W)."""
    tensor, _ = embedder.tensor(image)
    cosine, sine = embedder.network(tensor)[0].tolist()
    return np.arctan2(sine, cosine), tensor


def test_a_linear_angle_gives_its_weights_times_the_pixels(angle_model, angles_by_cell, noise, pictures):
    weights = noise(3, 48, 80)
    embedder = angle_model(weights)
    why = GradientInput(embedder)(pictures[1], pictures[2])
    (query, query_tensor), (match, match_tensor) = (angle(embedder, each) for each in pictures[1:3])
    slope = -np.sin(query - match)
    np.testing.assert_allclose(why.query_map, slope * angles_by_cell(weights, query_tensor), atol=1e-6)
    np.testing.assert_allclose(why.match_map, -slope * angles_by_cell(weights, match_tensor), atol=1e-6)


def test_only_the_cell_that_the_network_looks_at_is_not_zero(angle_model, pictures):
    weights = torch.zeros(3, 48, 80)
    weights[:, 16:32, 48:64] = 20.0
    why = GradientInput(angle_model(weights))(pictures[0], pictures[3])
    assert why.query_map[1, 3] != 0
    assert np.count_nonzero(why.query_map) == np.count_nonzero(why.match_map) == 1


def test_a_model_without_a_grid_gets_cells_of_its_own(pictures):
    embedder = Embedder.from_timm("xcit_nano_12_p16_224", pretrained=False, input_size=(64, 96), device="cpu")
    embedder.network.backbone.forward = _no_grid
    assert GradientInput(embedder)(pictures[0], pictures[1]).query_map.shape == (14, 21)


def _no_grid(_images):
    raise UnsupportedMethodError("no grid")


def test_an_embedding_that_ignores_its_pixels_is_refused(angle_model, pictures):
    embedder = angle_model(torch.ones(3, 48, 80))
    embedder.network.backbone.model.forward_features = lambda images: torch.ones(len(images), 1, 3, 5)
    with pytest.raises(
        UnsupportedMethodError, match="no finite gradient to its pixels; use method 'occlusion'"
    ):
        GradientInput(embedder)(pictures[0], pictures[1])
