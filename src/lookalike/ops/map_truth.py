"""Truth of a map: its agreement with what two images are known to share.

Masks, keypoints and homographies say what is shared; a ``coverage`` is the fraction of each cell of the
grid that a mask covers, in [0, 1]. None of these numbers says what the model looked at:
``faithfulness`` does.
"""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from lookalike.ops.weighted_auc import weighted_auc


def peak_is_inside(
    values: Float[Tensor, "h w"], coverage: Float[Tensor, "h w"], *, tolerance: int = 1
) -> bool:
    """Whether the highest cell is within ``tolerance`` cells of one that the mask touches.

    ``coverage`` is the fraction of each cell that the mask covers, in [0, 1] (the pointing game of
    Zhang et al., IJCV 2018, on the grid). A cell of tolerance is much on a coarse grid, and a large mask
    is often hit by chance: compare on one grid, with the rate of a random cell. Of equal cells the first
    is the peak, so a flat map is judged by its top left corner.

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

    1 is chance. Infinite where no positive mass lies outside, NaN where there is none at all: take
    medians, not means, over pairs. Raises ValueError where the mask covers nothing or everything.

    >>> import torch
    >>> positive_density_ratio(torch.tensor([[3.0, 1.0, -5.0]]), torch.tensor([[1.0, 0.0, 0.0]]))
    6.0
    """
    _check_part(coverage)
    positive = values.clamp(min=0)
    inside = (positive * coverage).sum() / coverage.sum()
    outside = (positive * (1 - coverage)).sum() / (1 - coverage).sum()
    return float(inside / outside)


def mass_inside(values: Float[Tensor, "h w"], coverage: Float[Tensor, "h w"]) -> float:
    """Share of the positive mass that lies inside the mask, over the share of area that the mask covers.

    1 is chance; at most 1 / (share of area); 0 where no positive mass lies inside or there is none. A
    cell's mass is spread evenly over the cell (the energy-based pointing game of Wang et al.,
    *Score-CAM*, CVPR Workshops 2020, relative to chance).

    A small mask allows far higher values than a large one, so compare maps on the same masks. Pictures
    are centered on their subject: a map of the center alone also beats 1. Raises ValueError where
    the mask covers nothing or everything.

    >>> import torch
    >>> mass_inside(torch.tensor([[3.0, 1.0, -5.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0, 0.0]]))
    3.0
    """
    _check_part(coverage)
    positive = values.double().clamp(min=0)
    total = float(positive.sum())
    if total == 0:
        return 0.0
    return float((positive * coverage).sum()) / total / float(coverage.double().mean())


def mask_auc(values: Float[Tensor, "h w"], coverage: Float[Tensor, "h w"]) -> float:
    """Probability that a random point inside the mask has a higher value than one outside; in [0, 1].

    Points are drawn evenly over the area and have the value of their cell; ties count half, so 0.5 is
    chance. A cell that the mask cuts lies on both sides, so 1 is out of reach for a mask that cuts cells.
    Only the order of values counts, negative ones too: a map may get a high value with most of its mass
    outside. Raises ValueError where the mask covers nothing or everything.

    >>> import torch
    >>> mask_auc(torch.tensor([[0.9, 0.2, 0.2]]), torch.tensor([[1.0, 1.0, 0.0]]))
    0.75
    """
    _check_part(coverage)
    inside = coverage.double().flatten()
    return weighted_auc(values.flatten(), inside, 1 - inside)


def keypoint_accuracy(
    predicted: Float[Tensor, "P 2"], true: Float[Tensor, "P 2"], *, size: float, alpha: float = 0.1
) -> float:
    """Fraction of points at most ``alpha`` times ``size`` away from the true one: PCK at alpha.

    Yang and Ramanan, TPAMI 2013. Points and ``size`` are in the same unit; SPair-71k (Min et al., 2019)
    takes the longer side of the object's box. A predicted point that is not finite is wrong.

    Centers of cells are off by up to half the diagonal of a cell: where that exceeds the threshold, even
    perfect matches miss. The mean of this over images is not the fraction over all their points. Raises
    ValueError for no points and a size or alpha that is not positive.

    >>> import torch
    >>> true = torch.tensor([[0.0, 0.0], [50.0, 20.0]])
    >>> keypoint_accuracy(true + torch.tensor([3.0, 4.0]), true, size=50.0)
    1.0
    """
    if not len(true):
        raise ValueError("an accuracy needs at least one keypoint, got none")
    if not (size > 0 and alpha > 0):
        raise ValueError(f"size and alpha are positive, got size = {size} and alpha = {alpha}")
    distances = (predicted.double() - true.double()).norm(dim=1)
    return float((distances <= alpha * size).double().mean())


def through_homography(
    points: Float[Tensor, "P 2"], homography: Float[Tensor, "3 3"]
) -> Float[Tensor, "P 2"]:
    """Points (x, y) moved by a homography: (u / s, v / s) where (u, v, s) = homography @ (x, y, 1).

    x is to the right and y down, as in the files of HPatches (Balntas et al., CVPR 2017); Hartley and
    Zisserman, *Multiple view geometry*, 2003, chapter 2. Both sides are in pixels of the images that the
    homography was made for, before any resize or crop, with pixel centers as there (whole numbers in
    HPatches and OpenCV, halves in a ``Geometry``). Points that are mapped to infinity are not finite.

    >>> import torch
    >>> shift_and_double = torch.tensor([[2.0, 0.0, 10.0], [0.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    >>> through_homography(torch.tensor([[1.0, 3.0]]), shift_and_double)
    tensor([[12.,  6.]])
    """
    homogeneous = F.pad(points.double(), (0, 1), value=1.0) @ homography.double().T  # (P, 3)
    return (homogeneous[:, :2] / homogeneous[:, 2:]).to(points.dtype)


def best_cells(cell_similarity: Float[Tensor, "Nq Nm"], cells: Int[Tensor, " P"]) -> Int[Tensor, " P"]:
    """The most similar cell of the match for each of P cells of the query; of equals, the first.

    There always is one, also where nothing in the match corresponds, and several cells may share it.

    >>> import torch
    >>> best_cells(torch.tensor([[0.1, 0.9, 0.3], [0.4, 0.2, 0.3]]), torch.tensor([1, 0, 1]))
    tensor([0, 1, 0])
    """
    n_cells = len(cell_similarity)
    if len(cells) and not 0 <= int(cells.min()) <= int(cells.max()) < n_cells:
        raise ValueError(
            f"cells of the query are numbered 0 to {n_cells - 1}, got {int(cells.min())} to "
            f"{int(cells.max())}"
        )
    return cell_similarity[cells].argmax(dim=1)


def _check_part(coverage: Tensor) -> None:
    """Raise ValueError unless a mask covers a part of the image."""
    if float(coverage.min()) < -1e-6 or float(coverage.max()) > 1 + 1e-6:  # sums of parts are rounded
        raise ValueError(
            f"a coverage is a fraction of each cell, between 0 and 1; got {float(coverage.min()):.3g} to "
            f"{float(coverage.max()):.3g}"
        )
    if not 0 < float(coverage.double().sum()) < coverage.numel():
        raise ValueError("the mask must cover a part of the image, neither nothing nor everything")
