"""Rankings of a gallery, and the changes that re-ranking makes to them."""

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
    allowed: Tensor | None = None  # (G,) bool: rows that may be results; None: all

    def __eq__(self, other: object) -> bool:
        """Whether all tensors are equal."""
        if not isinstance(other, Ranking):
            return NotImplemented
        pairs = (
            (self.queries, other.queries),
            (self.gallery, other.gallery),
            (self.indices, other.indices),
            (self.scores, other.scores),
            (self.allowed, other.allowed),
        )
        return all(a is b or (a is not None and b is not None and a.equal(b)) for a, b in pairs)

    def __hash__(self) -> int:
        return hash((tuple(self.indices.shape), tuple(self.gallery.shape)))

    def __repr__(self) -> str:
        n_queries, k = self.indices.shape
        return f"Ranking({n_queries} queries, the best {k} of {len(self.gallery)})"


@dataclass(frozen=True)
class Influence(Generic[Item]):
    """The influence of a gallery item on the score of another one, or on its own, in a re-ranking."""

    item: Item  # a row of the gallery, or its record
    amount: float  # signed, in units of the new score; positive raises it


@dataclass(frozen=True, repr=False)
class Move:
    """Rank and score of a gallery item before and after re-ranking, and the influences on it."""

    row: int  # of the gallery
    method: str  # "aqe", "dba+aqe", ...
    rank_before: int  # 1 is the best, as in Hit
    rank_after: int
    score_before: float
    score_after: float  # on another scale than before unless the method's scores are cosines
    influences: tuple[Influence[int], ...]  # largest magnitude first; each method defines the amount

    def __repr__(self) -> str:
        return (
            f"Move(row {self.row}, method {self.method!r}, rank {self.rank_before} -> {self.rank_after}, "
            f"score {self.score_before:z.4f} -> {self.score_after:z.4f}, {len(self.influences)} influences)"
        )
