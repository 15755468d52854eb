"""The results of a search, and what re-ranking changed in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from torch import Tensor

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False, repr=False)
class Ranking:
    """The K best gallery items of each of Q queries, best first, and the vectors they come from."""

    queries: Tensor  # (Q, D) float32 unit embeddings
    gallery: Tensor  # (G, D) float32 unit embeddings
    indices: Tensor  # (Q, K) int64 rows of the gallery, best first
    scores: Tensor  # (Q, K) float32, higher is better; cosines after the first stage

    def __repr__(self) -> str:
        n_queries, k = self.indices.shape
        return f"Ranking({n_queries} queries, the best {k} of {len(self.gallery)})"


@dataclass(frozen=True)
class Influence(Generic[Item]):
    """By how much a gallery item moved another one in a re-ranking."""

    item: Item  # a row of the gallery, or its record
    amount: float  # signed, in units of the new score; positive moved it up


@dataclass(frozen=True)
class Move:
    """Where a hit came from: its position and score before and after re-ranking, and who moved it."""

    row: int  # of the gallery
    method: str  # "aqe", "dba+aqe", ...
    rank_before: int  # 0 is the first
    rank_after: int
    score_before: float
    score_after: float  # of another scale than before where the method's scores are no cosines
    influences: tuple[Influence[int], ...]  # largest amount first, by size; each method says what it counts
