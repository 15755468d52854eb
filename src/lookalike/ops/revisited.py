"""The revisited Oxford and Paris protocol (Radenović et al., CVPR 2018) as functions of positions.

A query's ground truth lists a few images: positives and junk. All metrics depend only on the
positions of those in the ranking: ``positions`` are found in whole rankings (``positions_in_ranks``)
or counted from scores in blocks (``order_keys``, ``count_ahead``), cleared of junk
(``clear_positions``), and turned into metrics. Positions count from 0.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

NOWHERE = 2**62  # the position of missing items; lists of different lengths are padded with it
ROW_BLOCK = 8192  # rows of ranks processed together: about what fits into a processor's cache


def positions_in_ranks(ranks: Int[Tensor, "G Q"], listed: Int[Tensor, "Q L"]) -> Int[Tensor, "Q L"]:
    """Position of each listed image in its query's column of ranks, from 0; padding (-1) is NOWHERE.

    Raises ValueError where a column does not hold every image 0 .. G-1 exactly once. This is
    checked by three sums over the column: up to three wrong entries are always found, more with
    probability 1 - 2^-64.

    >>> positions_in_ranks(torch.tensor([[2], [0], [1]]), torch.tensor([[0, 2, -1]])).tolist()
    [[1, 0, 4611686018427387904]]
    """
    n_images, n_queries = ranks.shape
    _check_bounds(listed, n_images, "the ground truth lists", allow=-1)
    is_listed = torch.zeros(n_images + 1, dtype=torch.bool, device=ranks.device)
    is_listed[listed] = True  # -1 marks the last, which is no image
    queries = torch.arange(n_queries, device=ranks.device)
    wanted = torch.where(listed >= 0, listed + n_images * queries[:, None], -1)  # one number a pair
    ascending, order = wanted.flatten().sort()
    positions = torch.full_like(ascending, NOWHERE)
    sums = torch.zeros(3, n_queries, dtype=torch.int64, device=ranks.device)
    for start in range(0, n_images, ROW_BLOCK):
        block = ranks[start : start + ROW_BLOCK].long()
        _check_bounds(block, n_images, "ranks hold")
        sums += _power_sums(block)
        met = is_listed.index_select(0, block.flatten()).nonzero().flatten()  # by some query
        query = met % n_queries
        pair = block.flatten()[met] + n_images * query
        slot = torch.searchsorted(ascending, pair).clamp(max=len(ascending) - 1)
        is_own = ascending[slot] == pair
        positions[order[slot[is_own]]] = start + met[is_own] // n_queries
    _check_all_there(ranks, sums)
    return positions.view(listed.shape)


def order_keys(scores: Float[Tensor, "Q L"], rows: Int[Tensor, "#Q L"]) -> Int[Tensor, "Q L"]:
    """Integer keys in the order of a stable descending sort: a larger key ranks ahead.

    Higher float32 scores first, equal ones by lower row; rows are below 2^31.
    """
    bits = (scores.float() + 0.0).view(torch.int32)  # + 0.0: -0 and 0 are equal
    ascending = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # negative floats have descending bits
    return torch.add(2**31 - 1 - rows, ascending.long(), alpha=2**31)


def count_ahead(keys: Int[Tensor, "Q L"], scores: Float[Tensor, "Q B"], first_row: int) -> Int[Tensor, "Q L"]:
    """Number of gallery items of a block that rank ahead of each key; keys ascend within a query.

    The block is the gallery's rows from ``first_row`` on. Summed over the blocks of a gallery, this
    is the position of the item that the key belongs to, in O(B log L) and without sorting the block.
    """
    n_queries, n_keys = keys.shape
    rows = torch.arange(first_row, first_row + scores.shape[1], device=scores.device).expand(1, -1)
    n_passed = torch.searchsorted(keys, order_keys(scores, rows))  # (Q, B) keys behind
    n_passed += torch.arange(n_queries, device=scores.device)[:, None] * (n_keys + 1)
    histogram = n_passed.flatten().bincount(minlength=n_queries * (n_keys + 1))
    return histogram.view(n_queries, n_keys + 1)[:, 1:].flip(1).cumsum(1).flip(1)


def clear_positions(
    positions: Int[Tensor, "Q L"], is_positive: Bool[Tensor, "Q L"], is_junk: Bool[Tensor, "Q L"]
) -> Int[Tensor, "Q L"]:
    """Positions of the positives after junk is removed from the ranking, best first, padded with NOWHERE.

    >>> positive, junk = torch.tensor([[True, False, True]]), torch.tensor([[False, True, False]])
    >>> clear_positions(torch.tensor([[5, 2, 0]]), positive, junk)[:, :2]
    tensor([[0, 4]])
    """
    ascending, order = positions.masked_fill(~(is_positive | is_junk), NOWHERE).sort(dim=1)
    n_junk_ahead = is_junk.gather(1, order).cumsum(1)
    cleared = (ascending - n_junk_ahead).masked_fill(~is_positive.gather(1, order), NOWHERE)
    return cleared.sort(dim=1).values


def trapezoidal_average_precision(positions: Int[Tensor, "Q P"]) -> Float[Tensor, " Q"]:
    """Area under the precision-recall polygon, in [0, 1]; NaN for a query without positives.

    Between two positives precision is taken as the mean of its values just before and at the second
    one, the first trapezoid starting at 1 for a hit at position 0: the rule of the Oxford and Paris
    evaluations. ``positions`` as from ``clear_positions``, float64 throughout.

    >>> trapezoidal_average_precision(torch.tensor([[0, 2]]))
    tensor([0.7917], dtype=torch.float64)
    """
    there = positions < NOWHERE
    found = torch.arange(positions.shape[1], dtype=torch.float64, device=positions.device)
    before = torch.where(positions == 0, 1.0, found / positions.clamp(min=1))
    at = (found + 1) / (positions + 1)
    return ((before + at) / 2 * there).sum(1) / there.sum(1)


def precision_within(positions: Int[Tensor, "Q P"], k: int) -> Float[Tensor, " Q"]:
    """Share of positives among the first k results, in [0, 1]; NaN for a query without positives.

    As in the official evaluation, k is no more than the rank of the query's last positive: a query
    of three positives, found at once, has precision 1 within 10.
    """
    if k < 1:
        raise ValueError(f"precision_within needs k >= 1, got k = {k}")
    there = positions < NOWHERE
    last = torch.where(there, positions + 1, 0).amax(1) if positions.shape[1] else there.sum(1)
    within = last.clamp(max=k)
    return (positions < within[:, None]).sum(1).double() / within


def precision_at_recall(positions: Int[Tensor, "Q P"], recall: Float[Tensor, " R"]) -> Float[Tensor, "Q R"]:
    """Best precision at or beyond each recall in [0, 1] (interpolated precision); NaN without positives.

    For curves, which can be averaged over queries; the metrics above do not interpolate.
    """
    there = positions < NOWHERE
    n_positives = there.sum(1, keepdim=True)
    found = torch.arange(1, positions.shape[1] + 1, dtype=torch.float64, device=positions.device)
    precision = torch.where(there, found / (positions + 1), 0.0)
    nothing = precision.new_zeros(len(precision), 1)
    best_from = torch.cat([nothing, precision.flip(1)], dim=1).cummax(1).values.flip(1)
    n_needed = (recall.double() * n_positives - 1e-6).ceil().clamp(min=1).long()  # (Q, R)
    at = best_from.gather(1, (n_needed - 1).clamp(max=positions.shape[1]))
    return torch.where(n_positives > 0, at, torch.nan)


def _power_sums(block: Int[Tensor, "B Q"]) -> Int[Tensor, "3 Q"]:
    """Sums of the images' numbers, their squares and their cubes, each modulo 2^64."""
    squares = block * block
    return torch.stack([block.sum(0), squares.sum(0), squares.mul_(block).sum(0)])


def _check_bounds(images: Int[Tensor, "_ _"], n_images: int, who: str, allow: int = 0) -> None:
    if not images.numel():
        return
    low, high = (int(value) for value in images.aminmax())
    if low < allow or high >= n_images:
        raise ValueError(
            f"{who} image {low if low < allow else high}, but {n_images} rows rank the images 0 to "
            f"{n_images - 1}; give every image of the gallery once in each column"
        )


def _check_all_there(ranks: Int[Tensor, "G Q"], sums: Int[Tensor, "3 Q"]) -> None:
    n_images = len(ranks)
    expected = _power_sums(torch.arange(n_images, device=ranks.device)[:, None])
    wrong = (sums != expected).any(0).nonzero().flatten().tolist()
    for query in wrong[:1]:
        missing = (ranks[:, query].long().bincount(minlength=n_images) == 0).nonzero().flatten()
        raise ValueError(
            f"ranks of query {query} lack {len(missing)} of {n_images} images, first image "
            f"{int(missing[0])}, and repeat others; give every image of the gallery once in each column"
        )
