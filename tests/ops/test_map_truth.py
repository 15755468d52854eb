"""Agreement of maps with masks, keypoints and homographies: by hand, by pixel-wise loops and oracles."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from lookalike.ops.map_truth import (
    best_cells,
    keypoint_accuracy,
    mask_auc,
    mass_inside,
    peak_is_inside,
    positive_density_ratio,
    through_homography,
)
from lookalike.ops.regrid import mask_coverage
from lookalike.types import Geometry


@pytest.mark.parametrize(
    ("peak", "tolerance", "expected"),
    [((1, 4), 0, True), ((2, 5), 0, False), ((2, 5), 1, True), ((3, 0), 1, False), ((3, 6), 2, True)],
)
def test_the_peak_counts_within_the_tolerance(peak, tolerance, expected):
    values, coverage = torch.zeros(4, 7), torch.zeros(4, 7)
    values[peak], coverage[1, 4] = 1.0, 0.3
    assert peak_is_inside(values, coverage, tolerance=tolerance) is expected


def test_density_ratio_equals_a_loop_over_pixels():
    """Spread each cell's positive value over its pixels, then compare means inside and outside."""
    rng = np.random.default_rng(0)
    h, w, size = 3, 5, (30, 70)
    values = rng.normal(size=(h, w)).astype(np.float32)
    mask = rng.random(size) < 0.3
    per_pixel = np.kron(np.maximum(values, 0), np.ones((10, 14))) / 140
    expected = per_pixel[mask].mean() / per_pixel[~mask].mean()
    coverage = mask_coverage(Geometry(size, (60, 60), (0, 0, *size)), torch.from_numpy(mask), (h, w))
    ratio = positive_density_ratio(torch.from_numpy(values), coverage)
    assert ratio == pytest.approx(expected, rel=1e-4)


def test_mass_and_auc_equal_loops_over_pixels():
    """Every pixel has the value of its cell; scikit-learn orders the pixels."""
    rng = np.random.default_rng(0)
    h, w, size = 3, 5, (30, 70)
    values = rng.normal(size=(h, w)).astype(np.float32).round(1)
    mask = rng.random(size) < 0.3
    per_pixel = np.kron(values, np.ones((10, 14)))
    positive = np.maximum(per_pixel, 0)
    coverage = mask_coverage(Geometry(size, (60, 60), (0, 0, *size)), torch.from_numpy(mask), (h, w))
    expected_mass = positive[mask].sum() / positive.sum() / mask.mean()
    assert mass_inside(torch.from_numpy(values), coverage) == pytest.approx(expected_mass, rel=1e-6)
    expected_auc = roc_auc_score(mask.flatten(), per_pixel.flatten())
    assert mask_auc(torch.from_numpy(values), coverage) == pytest.approx(expected_auc, abs=1e-6)


def test_auc_equals_scikit_learn_with_weighted_cells(noise):
    values, coverage = noise(4, 7).round(), noise(4, 7, seed=1).abs().clamp(max=1)
    inside = coverage.double().flatten()
    expected = roc_auc_score(
        [1] * 28 + [0] * 28, values.flatten().repeat(2), sample_weight=torch.cat([inside, 1 - inside])
    )
    assert mask_auc(values, coverage) == pytest.approx(expected, abs=1e-9)


def test_a_planted_map_gets_the_most_and_its_mirror_the_least():
    values, coverage = torch.zeros(4, 7), torch.zeros(4, 7)
    values[1, 4:6], coverage[1, 4:6] = 0.3, 1.0
    assert mass_inside(values, coverage) == pytest.approx(28 / 2)
    assert mask_auc(values, coverage) == 1
    mirrored = values.flip(1)
    assert mass_inside(mirrored, coverage) == 0
    assert mask_auc(mirrored, coverage) == pytest.approx(24 / 26 / 2)  # beaten by 2 of 26, ties with 24


def test_a_flat_map_is_at_chance():
    coverage = torch.tensor([[1.0, 0.5, 0.0], [0.25, 0.0, 0.0]])
    assert mass_inside(torch.full((2, 3), 0.7), coverage) == pytest.approx(1)
    assert mask_auc(torch.full((2, 3), 0.7), coverage) == 0.5


def test_a_map_without_positive_mass_has_none_inside_but_is_ordered():
    values, coverage = torch.tensor([[-1.0, -2.0, -3.0]]), torch.tensor([[1.0, 0.0, 0.0]])
    assert mass_inside(values, coverage) == 0
    assert mask_auc(values, coverage) == 1


@pytest.mark.parametrize("measure", [positive_density_ratio, mass_inside, mask_auc])
def test_masks_without_a_border_and_in_other_units_are_refused(measure):
    for everything in (0.0, 1.0):
        with pytest.raises(ValueError, match="a part of the image"):
            measure(torch.ones(2, 3), torch.full((2, 3), everything))
    with pytest.raises(ValueError, match="got 0 to 255"):
        measure(torch.ones(2, 3), torch.tensor([[0.0, 255.0, 0.0], [0.0, 0.0, 0.0]]))


def test_keypoints_count_up_to_the_threshold():
    true = torch.tensor([[10.0, 20.0], [0.0, 0.0], [5.0, 5.0], [7.0, 9.0]])
    offsets = torch.tensor([[6.0, 8.0], [-6.0, 8.1], [0.0, 10.0], [torch.nan, 0.0]])
    assert keypoint_accuracy(true + offsets, true, size=100.0) == 0.5
    assert keypoint_accuracy(true + offsets, true, size=100.0, alpha=0.11) == 0.75
    assert keypoint_accuracy(true + offsets, true, size=99.0) == 0


def test_keypoints_that_cannot_be_judged_are_refused():
    points = torch.ones(2, 2)
    with pytest.raises(ValueError, match="at least one keypoint"):
        keypoint_accuracy(points[:0], points[:0], size=9.0)
    for size, alpha in ((0.0, 0.1), (9.0, 0.0), (float("nan"), 0.1)):
        with pytest.raises(ValueError, match="are positive"):
            keypoint_accuracy(points, points, size=size, alpha=alpha)


def test_a_homography_moves_x_by_its_first_row_and_divides_by_its_last():
    """(2, 3): u = 4 + 10, v = 9 + 20, s = 2 * 0.5 + 1."""
    homography = torch.tensor([[2.0, 0.0, 10.0], [0.0, 3.0, 20.0], [0.5, 0.0, 1.0]])
    moved = through_homography(torch.tensor([[2.0, 3.0], [0.0, 1.0]]), homography)
    torch.testing.assert_close(moved, torch.tensor([[7.0, 14.5], [10.0, 23.0]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inverse_of_a_homography_brings_points_back_whatever_its_scale(noise, dtype):
    points = 100 * noise(6, 2, dtype=dtype).abs()
    homography = torch.tensor([[0.9, -0.1, 30.0], [0.2, 1.1, -7.0], [1e-4, 2e-4, 1.0]], dtype=dtype)
    moved = through_homography(points, -5 * homography)
    back = through_homography(moved, homography.inverse())
    assert back.dtype == dtype
    torch.testing.assert_close(back, points, rtol=1e-4, atol=1e-3)


def test_points_on_the_horizon_are_not_finite():
    homography = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.0, -1.0]])
    assert not through_homography(torch.tensor([[2.0, 3.0]]), homography).isfinite().all()


def test_the_best_cell_is_the_planted_one(noise):
    h, w = 3, 5
    descriptors = noise(h * w, 8)
    order = torch.randperm(h * w, generator=torch.Generator().manual_seed(0))
    similarity = descriptors @ descriptors[order].T / descriptors.norm(dim=1)[order]
    cells = torch.tensor([14, 0, 7, 7])
    assert order[best_cells(similarity, cells)].tolist() == cells.tolist()


def test_of_equal_cells_the_first_is_best_and_a_cell_outside_is_refused():
    similarity = torch.zeros(6, 4)
    similarity[5, 1:3] = 1.0
    assert best_cells(similarity, torch.tensor([5, 0])).tolist() == [1, 0]
    assert best_cells(similarity, torch.tensor([], dtype=torch.long)).tolist() == []
    for outside in (-1, 6):
        with pytest.raises(ValueError, match="numbered 0 to 5"):
            best_cells(similarity, torch.tensor([2, outside]))
