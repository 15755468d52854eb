"""Agreement of maps with masks, by hand and by a pixel-wise loop."""

import numpy as np
import pytest
import torch

from lookalike.ops.faithfulness import peak_is_inside, positive_density_ratio
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


def test_a_mask_of_nothing_has_no_ratio():
    with pytest.raises(ValueError, match="a part of the image"):
        positive_density_ratio(torch.ones(2, 3), torch.zeros(2, 3))
