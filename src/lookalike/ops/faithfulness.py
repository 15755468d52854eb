"""Agreement of a map with a mask of what two images are known to share."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def peak_is_inside(
    values: Float[Tensor, "h w"], coverage: Float[Tensor, "h w"], *, tolerance: int = 1
) -> bool:
    """Whether the highest cell is within ``tolerance`` cells of one that the mask touches.

    ``coverage`` is the fraction of each cell that the mask covers, in [0, 1] (the pointing game of
    Zhang et al., IJCV 2018, on the grid).

    >>> import torch
    >>> values, coverage = torch.zeros(3, 5), torch.zeros(3, 5)
    >>> values[0, 4], coverage[1, 3] = 1.0, 0.2
    >>> peak_is_inside(values, coverage), peak_is_inside(values, coverage, tolerance=0)
    (True, False)
    """
    touched = (coverage > 0).float()[None, None]
    near = F.max_pool2d(touched, 2 * tolerance + 1, stride=1, padding=tolerance)[0, 0]
    return bool(near.flatten()[values.argmax()] > 0)


def positive_density_ratio(values: Float[Tensor, "h w"], coverage: Float[Tensor, "h w"]) -> float:
    """Positive mass per pixel inside the mask over that outside; a cell's mass is spread evenly.

    Infinite where no positive mass lies outside, NaN where there is none at all. Raises ValueError
    where the mask covers nothing or everything.

    >>> import torch
    >>> positive_density_ratio(torch.tensor([[3.0, 1.0, -5.0]]), torch.tensor([[1.0, 0.0, 0.0]]))
    6.0
    """
    if not 0 < float(coverage.sum()) < coverage.numel():
        raise ValueError("the mask must cover a part of the image, neither nothing nor everything")
    positive = values.clamp(min=0)
    inside = (positive * coverage).sum() / coverage.sum()
    outside = (positive * (1 - coverage)).sum() / (1 - coverage).sum()
    return float(inside / outside)
