"""What is planted at one place of some frames is found there, in those; noise has nothing."""

import pytest
import torch

from lookalike.ops.recurrence import gradient_windows, recurring_groups, whitened_windows

CARRIERS = [1, 4, 5, 9, 12, 20, 33, 39]


def frames(planted, seed=0):
    """40 frames of smooth noise, (96, 64) pixels; a faint pattern at rows 32-48, columns 8-40 of some."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(40, 1, 24, 16, generator=generator)
    grays = torch.nn.functional.interpolate(coarse, (96, 64), mode="bicubic")[:, 0] * 40 + 128
    grays = grays + 4 * torch.randn(40, 96, 64, generator=generator)
    pattern = torch.randn(8, 16, generator=generator).sign().repeat_interleave(2, 0).repeat_interleave(2, 1)
    if planted:
        grays[CARRIERS, 32:48, 8:40] += 20 * pattern
    return grays.clamp(0, 255)


@pytest.fixture(scope="module")
def found():
    return recurring_groups(whitened_windows(gradient_windows(frames(planted=True))), least=5)


def test_the_frames_that_carry_a_pattern_are_one_group(found):
    assert found[0].items.tolist() == CARRIERS
    assert found[0].largest == len(CARRIERS) - 1


def test_the_group_lies_where_the_pattern_was_planted(found):
    rows, columns = found[0].windows.nonzero().T.tolist()
    assert found[0].windows.shape == (11, 7)
    assert found[0].windows[4, 1:4].all()  # windows of 16 pixels, 8 apart
    assert set(rows) <= {3, 4, 5} and set(columns) <= set(range(5))


def test_frames_without_a_pattern_have_no_group():
    assert recurring_groups(whitened_windows(gradient_windows(frames(planted=False))), least=5) == []


def test_more_pictures_can_be_asked_for_than_agree():
    assert recurring_groups(whitened_windows(gradient_windows(frames(planted=True))), least=8) == []


def test_windows_are_gradients_by_hand():
    ramp = torch.arange(6.0)[None, None].expand(1, 4, 6) * 8  # 8 levels a pixel, across
    windows = gradient_windows(ramp, size=4, stride=2)
    assert windows.shape == (1, 1, 2, 32)
    torch.testing.assert_close(windows[0, 0, 0, 1], torch.tensor(0.5))  # 8 / (8 + 8)
    assert windows[..., 16:].abs().max() == 0  # nothing downward
