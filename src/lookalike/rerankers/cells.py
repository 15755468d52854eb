"""What the re-rankers by cells share: a term for each of the first candidates, from both images' shares."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from torch import Tensor

from lookalike.errors import UnreadableImageError
from lookalike.types import Ranking, Shares

SharesOf = Callable[[int], Shares]  # of a query's index, or of a row of the gallery


def check_shares_of(query_shares: SharesOf, gallery_shares: SharesOf) -> None:
    """Raise ValueError unless both are functions."""
    if not (callable(query_shares) and callable(gallery_shares)):
        raise ValueError("query_shares and gallery_shares must be functions from an index to Shares")


def terms_of_first(
    ranking: Ranking, query_indices: Sequence[int], n: int, term: Callable[[int, int], float]
) -> Tensor:
    """Return ``term(query index, row)`` of each query's first n candidates, zero for the rest: (Q, K).

    A candidate whose image can't be read has the term zero, as if no cells matched.
    """
    terms = ranking.scores.new_zeros(ranking.scores.shape)
    for i, query_index in enumerate(query_indices):
        for position, row in enumerate(ranking.indices[i, :n].tolist()):
            with contextlib.suppress(UnreadableImageError):
                terms[i, position] = term(query_index, row)
    return terms
