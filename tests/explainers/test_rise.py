"""RISE: slopes over random masks, for any model."""

import numpy as np
import pytest
import torch
from PIL import Image

from lookalike.explainers import Rise
from lookalike.explainers.rise import _slopes_over


def angle_of_red(where):
    """A model whose unit embedding turns with the mean red of a part of the picture."""

    def embed(pictures):
        angles = [np.asarray(picture, dtype=np.float64)[where][..., 0].mean() / 255 for picture in pictures]
        return np.stack([np.cos(angles), np.sin(angles)], 1)

    return embed


@pytest.fixture
def red_spot():
    """A red square in the second quarter of a dark picture, 80 x 120 pixels."""
    image = Image.new("RGB", (120, 80), (20, 20, 20))
    image.paste((255, 0, 0), (80, 20, 110, 40))
    return image


def test_the_part_that_the_model_looks_at_has_the_largest_slope(red_spot):
    model = angle_of_red((slice(20, 40), slice(80, 110)))
    why = Rise(model, masks=400)(red_spot, red_spot)
    assert why.query_map.shape == (14, 21)
    row, column = divmod(int(why.query_map.argmax()), 21)
    assert 3 <= row <= 7 and 13 <= column <= 19
    far = why.query_map[:, :8]
    assert abs(far.mean()) < 0.1 * why.query_map.max()  # no offset from the level of the score


def test_the_level_of_the_score_does_not_matter(red_spot):
    """An embedding that no mask changes gives zeros, where the published average gives the score."""
    why = Rise(lambda pictures: np.ones((len(pictures), 3)), masks=8)(red_spot, red_spot)
    assert why.similarity == pytest.approx(1.0)
    assert np.abs(why.query_map).max() < 1e-12


def test_slopes_do_not_depend_on_how_often_a_cell_was_kept():
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(4000, 3, generator=generator) < torch.tensor([0.2, 0.5, 0.9])
    visible = kept.double()
    slopes = _slopes_over(visible, visible @ torch.tensor([2.0, -1.0, 0.0]).double() + 5)
    torch.testing.assert_close(slopes, torch.tensor([2.0, -1.0, 0.0]).double(), atol=0.2, rtol=0)


def test_equal_seeds_give_equal_maps_and_others_do_not(mini, pictures):
    maps = [Rise(mini, masks=6, seed=seed)(*pictures[:2]).query_map for seed in (3, 3, 4)]
    np.testing.assert_array_equal(maps[0], maps[1])
    assert np.abs(maps[0] - maps[2]).max() > 1e-4


def test_masks_fill_the_input_smoothly_and_keep_about_half():
    masks = list(Rise(lambda _: None, masks=200)._random_masks((48, 80)))
    assert {tuple(mask.shape) for mask in masks} == {(48, 80)}
    means = np.mean([mask.numpy() for mask in masks], 0)
    assert np.abs(means - 0.5).max() < 0.12
    assert max(float((mask[1:] - mask[:-1]).abs().max()) for mask in masks) < 0.2


@pytest.mark.parametrize("options", [{"masks": 1}, {"cells": 0}, {"keep": 1.0}, {"batch_size": 0}])
def test_options_that_give_no_slope_are_refused(options):
    with pytest.raises(ValueError, match="rise takes 2 or more masks"):
        Rise(angle_of_red(...), **options)
