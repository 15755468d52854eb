"""Searching by examples as well: images that are like what is looked for, and images that are not.

Rocchio, "Relevance Feedback in Information Retrieval" (The SMART Retrieval System, 1971): the query's
unit vector, plus 0.75 times the mean of the liked ones, less 0.15 times the mean of the disliked ones;
the weights are those of Manning, Raghavan, Schütze, "Introduction to Information Retrieval" (2008, 9.1.1).
A sum of vectors, so a similarity still splits exactly: over the cells of the query, and the examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from torch import Tensor
from torch.nn import functional as F

from lookalike.models.located import LocatedShares
from lookalike.models.passes import SharesPass

LIKED_WEIGHT, DISLIKED_WEIGHT = 0.75, 0.15


@dataclass(frozen=True, eq=False)
class Examples:
    """Vectors that are added to a query's unit vector, by what they come from."""

    parts: Mapping[str, Tensor]  # each (D,) float32, signed and weighted

    def added_to(self, unit: Tensor) -> Tensor:
        """Return the unit vector (D,) of a query with these examples."""
        return F.normalize(unit + sum(self.parts.values()), dim=0)


def examples_of(liked: Sequence[Tensor], disliked: Sequence[Tensor]) -> Examples | None:
    """Return the examples for unit vectors (D,) that are liked and that are not; None for neither."""
    parts = {
        f"{len(units)} {name}": weight * sum(units[1:], units[0]) / len(units)
        for name, weight, units in (
            ("liked", LIKED_WEIGHT, liked),
            ("disliked", -DISLIKED_WEIGHT, disliked),
        )
        if units
    }
    return Examples(parts) if parts else None


@final
class ExamplesPass:
    """A query's similarities when examples are added to it: its own cells, and a residual for each kind."""

    def __init__(self, own: SharesPass, examples: Examples) -> None:
        self._own = own
        self._parts = {name: part.double() for name, part in examples.parts.items()}
        total = own.unit.double() + sum(self._parts.values())
        self._length = total.norm().clamp(min=1e-12)
        self.unit = total / self._length

    def shares(self, directions: Tensor) -> LocatedShares:
        """Split the similarities with K unit directions (K, D)."""
        own, length = self._own.shares(directions), float(self._length)
        residual = {name: values / length for name, values in own.residual.items()}
        across = directions.double().cpu()
        residual |= {name: (across @ part / length).float() for name, part in self._parts.items()}
        return replace(own, content=own.content / length, constants=own.constants / length, residual=residual)
