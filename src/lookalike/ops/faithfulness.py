"""Faithfulness of a map to the model: whether hiding what it calls important changes the similarity.

A map can be faithful and yet not show what two images really share: ``map_truth`` measures that.
All numbers depend on how cells are hidden (blur, mean color, left out): compare maps only under the
same way of hiding, the same steps and the same pairs.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lookalike.ops.correlation import pearson_correlation, rank_correlation


def scaled_curve(curve: Float[Tensor, " S"], *, full: float, empty: float) -> Float[Tensor, " S"]:
    """A curve of similarities with the whole image at 1 and the empty one at 0.

    (curve - empty) / (full - empty), as in Baniecki et al., *Explaining similarity in vision-language
    encoders with weighted Banzhaf interactions* (FIxLIP), NeurIPS 2025. ``full`` is the similarity
    with nothing hidden and ``empty`` that with everything hidden. Values may lie outside [0, 1].
    Raises ValueError where the two are equal.

    >>> scaled_curve(torch.tensor([0.25, 0.5, 0.75]), full=0.75, empty=0.25)
    tensor([0.0000, 0.5000, 1.0000])
    """
    if full == empty:
        raise ValueError(
            f"a curve is scaled by what hiding everything changes, but the similarity is {full} before and "
            "after; leave the pair out"
        )
    return (curve - empty) / (full - empty)


def area_under(curve: Float[Tensor, " S"]) -> float:
    """Area under S >= 2 evenly spaced points from 0 to 1, by the trapezoidal rule; in units of the curve.

    >>> area_under(torch.tensor([0.0, 1.0, 1.0]))
    0.75
    """
    if len(curve) < 2:
        raise ValueError(
            f"an area needs at least 2 points, the first at 0 and the last at 1; got {len(curve)}"
        )
    return float(torch.trapezoid(curve.double(), dx=1 / (len(curve) - 1)))


def insertion_deletion_area(insertion: Float[Tensor, " S"], deletion: Float[Tensor, " T"]) -> float:
    """Area under the insertion curve minus that under the deletion curve; larger is better.

    Both are functions of the fraction of cells handled, 0 to 1: insertion shows the most important
    cells first, from empty to full, deletion hides the most important first, from full to empty
    (Petsiuk, Das, Saenko, *RISE*, BMVC 2018; their difference is the AID of Baniecki et al., NeurIPS
    2025). 0 is what a random order is expected to get, negative is worse than that.

    >>> insertion_deletion_area(torch.tensor([0.0, 1.0, 1.0]), torch.tensor([1.0, 0.0, 0.0]))
    0.5
    """
    return area_under(insertion) - area_under(deletion)


def average_drop(full: float, kept: float) -> float:
    """Part of the similarity that is lost when only what the map marks is kept; smaller is better.

    max(0, full - kept) / full, to be averaged over pairs (Chattopadhyay et al., *Grad-CAM++*, WACV 2018;
    for similarities Sammani et al., *Visualizing and understanding contrastive learning*, TIP 2023).
    Raises ValueError where ``full`` is not positive.

    >>> average_drop(0.5, 0.375), average_drop(0.5, 0.75)
    (0.25, 0.0)
    """
    if not full > 0:
        raise ValueError(f"a drop is a part of a positive similarity, got {full}; leave the pair out")
    return max(0.0, full - kept) / full


def mask_fit(
    attributions: Float[Tensor, " N"], kept: Bool[Tensor, "M N"], similarities: Float[Tensor, " M"]
) -> tuple[float, float]:
    """How well sums of attributions predict the similarity under M random masks: (R², Spearman).

    The sum over the kept cells of each mask is compared with the similarity that the model gives to
    what is kept: squared Pearson correlation in [0, 1] and rank correlation in [-1, 1], larger is
    better (faithfulness correlation: Bhatt, Weller, Moura, IJCAI 2020). 0 where either side is
    constant. Raises ValueError for fewer than 3 masks: two points always lie on a line.

    >>> kept = torch.tensor([[True, False], [False, True], [True, True]])
    >>> mask_fit(torch.tensor([1.0, 2.0]), kept, torch.tensor([0.25, 0.5, 0.75]))
    (1.0, 1.0)
    """
    if len(kept) < 3:
        raise ValueError(f"a fit needs at least 3 masks, got {len(kept)}")
    values = attributions.double()
    scale = values.abs().sum()
    if not float(scale) > 0:
        return 0.0, 0.0
    sums = (kept.double() @ (values / scale)).round(decimals=12)  # equal sums stay equal in any order
    return pearson_correlation(sums, similarities) ** 2, rank_correlation(sums, similarities)
