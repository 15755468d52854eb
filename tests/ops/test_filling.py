"""Filled places continue what surrounds them; the rest stays as it is."""

import torch

from lookalike.ops.filling import filled_smoothly


def test_visible_pixels_stay_as_they_are(noise):
    pictures = noise(2, 3, 13, 22)
    masks = noise(2, 13, 22, seed=1) > 0.5
    filled = filled_smoothly(pictures, masks)
    kept = ~masks[:, None].expand_as(pictures)
    torch.testing.assert_close(filled[kept], pictures[kept])


def test_a_hole_in_one_color_disappears():
    picture = torch.full((1, 2, 9, 14), 7.0)
    masks = torch.zeros(1, 9, 14, dtype=torch.bool)
    masks[:, 2:7, 3:11] = True
    torch.testing.assert_close(filled_smoothly(picture.masked_fill(masks[:, None], 99.0), masks), picture)


def test_what_is_masked_has_no_influence(noise):
    masks = noise(1, 8, 11, seed=2) > 0
    a, b = noise(1, 1, 8, 11), noise(1, 1, 8, 11)
    b[:, :, masks[0]] = 100.0
    torch.testing.assert_close(filled_smoothly(a, masks), filled_smoothly(b, masks))


def test_a_picture_that_is_masked_whole_becomes_zero():
    filled = filled_smoothly(torch.ones(1, 1, 3, 5), torch.ones(1, 3, 5, dtype=torch.bool))
    assert filled.abs().max() == 0
