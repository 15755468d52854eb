"""Correspondence of the cells of two images by optimal transport, and the votes of cells for pairs.

After ELViS (Suma, Kordopatis-Zilos, Kalantidis, Tolias, *ELViS: Efficient Visual Similarity from Local
Descriptors that Generalizes Across Domains*, ICLR 2026), whose learned gains and vote function are a
constant and the probability itself here. Dustbins are those of Sarlin et al., *SuperGlue*, CVPR 2020.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lookalike.ops.similarity import cosine_similarity

_CHANGE, _MAX_ITERATIONS = 1e-6, 500  # of the logarithms of the factors; a few dozen iterations are usual


def transport_plan(
    similarities: Float[Tensor, "N M"], *, dustbin: float, sharpness: float
) -> Float[Tensor, "N M"]:
    """Probability that cell i of one image corresponds to cell j of the other: (N, M) in [0, 1].

    Sinkhorn's algorithm on ``exp(sharpness * similarity)`` with one more row and column, the dustbins, of
    similarity ``dustbin``, until rows and columns sum to one each, and those of the dustbins to M and N,
    or for 500 rounds.
    A cell without a partner above ``dustbin`` goes to the dustbin, so sums without dustbins are below
    one. The plan of exchanged images is the transposed plan.

    >>> transport_plan(torch.tensor([[0.9, 0.0], [0.0, 0.1]]), dustbin=0.5, sharpness=20.0)
    tensor([[9.8201e-01, 8.3108e-07],
            [8.3112e-07, 3.4126e-04]])
    """
    n, m = similarities.shape
    if not similarities.numel():
        return similarities
    logits = torch.full((n + 1, m + 1), float(dustbin), dtype=torch.float64, device=similarities.device)
    logits[:n, :m] = similarities
    logits *= sharpness
    row_mass, column_mass = logits.new_zeros(n + 1), logits.new_zeros(m + 1)
    row_mass[-1], column_mass[-1] = math.log(m), math.log(n)
    columns = torch.zeros_like(column_mass)
    for _ in range(_MAX_ITERATIONS):
        before = columns
        rows = row_mass - (logits + columns).logsumexp(1)
        columns = column_mass - (logits + rows[:, None]).logsumexp(0)
        if (columns - before).abs().max() < _CHANGE:
            break
    return (logits + rows[:, None] + columns).exp()[:n, :m].to(similarities.dtype)


def transport_votes(
    query: Float[Tensor, "N D"], match: Float[Tensor, "M D"], *, dustbin: float, sharpness: float
) -> Float[Tensor, "N M"]:
    """Votes of all cells of both images for pairs of cells: (N, M), 0 or more; the sum is at most one.

    Each cell votes for its likeliest partner with the probability of ``transport_plan`` on the cosines,
    over the number of cells of both images. Row i is therefore the vote of cell i and the votes for it.
    Cells of zeros take no part and are not counted.

    >>> transport_votes(torch.eye(2), torch.eye(2)[:1], dustbin=0.5, sharpness=20.0).round(decimals=4)
    tensor([[0.6622],
            [0.0000]])
    """
    rows, columns = query.any(1), match.any(1)
    part = _votes(
        transport_plan(cosine_similarity(query[rows], match[columns]), dustbin=dustbin, sharpness=sharpness)
    )
    votes = part.new_zeros(len(query), len(match))
    votes[rows.nonzero(), columns.nonzero().T] = part / max(1, sum(part.shape))
    return votes


def _votes(plan: Float[Tensor, "N M"]) -> Float[Tensor, "N M"]:
    votes = torch.zeros_like(plan)
    if not plan.numel():
        return votes
    for axis in (0, 1):
        strongest, partner = plan.max(axis, keepdim=True)
        votes.scatter_add_(axis, partner, strongest)
    return votes
