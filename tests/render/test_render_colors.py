import numpy as np
import pytest

from lookalike.render.colors import check_colors, oklab_from_srgb, palette

# Viénot, Brettel and Mollon 1999: linear RGB as a deuteranope sees it
DEUTERANOPIA = np.array([[0.29275, 0.70725, 0.0], [0.29275, 0.70725, 0.0], [-0.02234, 0.02234, 1.0]])


def lightness(table):
    return oklab_from_srgb(table[:, :3] / 255.0)[:, 0]


def test_lightness_falls_from_the_center_to_both_ends():
    light = lightness(palette().table)
    center = len(light) // 2
    tolerance = 1 / 255  # colors are bytes
    assert (np.diff(light[center:]) < tolerance).all()
    assert (np.diff(light[: center + 1]) > -tolerance).all()
    assert light[center] - max(light[0], light[-1]) > 0.3


def test_opacity_rises_from_nothing_at_zero_to_both_ends_alike():
    opacity = palette().table[:, 3].astype(int)
    center = len(opacity) // 2
    assert opacity[center] == 0
    assert (np.diff(opacity[center:]) >= 0).all()
    assert (opacity == opacity[::-1]).all()


def test_no_color_was_cut_to_the_gamut():
    inside = palette().table[1:-1, :3]
    clipped = ((inside == 0) | (inside == 255)).any(axis=1)
    assert clipped.mean() < 0.05


def test_a_deuteranope_can_tell_both_halves_apart():
    table = palette().table[:, :3] / 255.0
    linear = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ DEUTERANOPIA.T, 0, 1)
    lab = oklab_from_srgb(np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * seen ** (1 / 2.4) - 0.055))
    far = np.linalg.norm(lab[::-1] - lab, axis=1)
    assert far[0] > 0.3
    assert far[len(far) // 4] > 0.12  # half way to the ends


def test_oklab_of_white_black_and_red_are_the_published_values():
    lab = oklab_from_srgb(np.array([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]))
    expected = [[1, 0, 0], [0, 0, 0], [0.62796, 0.22486, 0.12585]]
    np.testing.assert_allclose(lab, expected, atol=1e-4)


def test_positive_is_orange_and_negative_is_blue():
    red, _, blue, _ = palette().colorize(np.array([0.9], np.float32))[0].astype(int)
    assert red > blue + 100
    red, _, blue, _ = palette().colorize(np.array([-0.9], np.float32))[0].astype(int)
    assert blue > red + 100


def test_values_beyond_the_end_have_its_color():
    colors = palette().colorize(np.array([1.0, 7.0], np.float32))
    assert (colors[0] == colors[1]).all()


def test_zero_has_no_color():
    assert palette().colorize(np.zeros((2, 2), np.float32))[..., 3].max() == 0


def test_unknown_colors_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="lookalike, jet; got 'magma'"):
        check_colors("magma")
