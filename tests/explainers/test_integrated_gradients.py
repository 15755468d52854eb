"""Integrated gradients: closed forms, and the sum that the method promises."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lookalike.errors import UnknownNameError
from lookalike.explainers import IntegratedGradients
from lookalike.ops.blurring import gaussian_blur


def cosine(embedder, image, other):
    with torch.no_grad():
        return float(F.cosine_similarity(embedder.network(image), embedder.network(other))[0])


def test_a_linear_angle_is_divided_by_weights_times_pixels(angle_model, angles_by_cell, noise, pictures):
    """The gain over the mean color, in proportion to what each cell adds to the angle."""
    weights = noise(3, 48, 80)
    embedder = angle_model(weights)
    query, match = (embedder.tensor(each)[0] for each in pictures[1:3])
    why = IntegratedGradients(embedder, steps=200)(pictures[1], pictures[2])
    angles = angles_by_cell(weights, query)
    gain = cosine(embedder, query, match) - cosine(embedder, torch.zeros_like(query), match)
    np.testing.assert_allclose(why.query_map, gain * angles / angles.sum(), atol=1e-6)


def test_maps_sum_to_the_gain_over_the_blurred_image(mini, pictures):
    query, match = (mini.tensor(each)[0] for each in (pictures[3], pictures[1]))
    gain = cosine(mini, query, match) - cosine(mini, gaussian_blur(query), match)
    why = IntegratedGradients(mini, steps=32, baseline="blur")(pictures[3], pictures[1])
    assert abs(gain) > 0.05
    assert why.query.total == pytest.approx(gain, abs=0.1 * abs(gain))


def test_maps_do_not_depend_on_the_batch_size(angle_model, noise, pictures):
    embedder = angle_model(noise(3, 48, 80))
    one, many = (IntegratedGradients(embedder, steps=7, batch_size=n)(*pictures[:2]) for n in (2, 8))
    np.testing.assert_allclose(one.query_map, many.query_map, atol=1e-7)


def test_options_are_checked(mini):
    with pytest.raises(UnknownNameError, match="baseline is one of mean, blur; got 'black'"):
        IntegratedGradients(mini, baseline="black")
    with pytest.raises(ValueError, match="1 or more; got 0 and 8"):
        IntegratedGradients(mini, steps=0)
