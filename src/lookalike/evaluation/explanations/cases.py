"""One pair in front of one model, with everything that the methods share; computed once, when needed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import numpy as np
import torch
from torch import Tensor

from lookalike.datasets.pairs import ImagePair, KnownImage, mask_of
from lookalike.errors import UnsupportedMethodError
from lookalike.evaluation.explanations.halves import ranks_in_halves
from lookalike.evaluation.explanations.hiding import Pixels, filling, hidden, random_halves
from lookalike.evaluation.explanations.methods import BoundMethod, MapMethod
from lookalike.evaluation.explanations.subjects import SeenImage, Subject
from lookalike.ops.regrid import mask_coverage, regrid
from lookalike.types import Explanation, ImageMap

_N_MASKS = 32  # random halves of the cells


@final
class Roster:
    """All pairs of a run in front of one model: which other images take part in a pair's measures."""

    def __init__(self, subject: Subject, pairs: Sequence[ImagePair], *, seed: int) -> None:
        self.subject, self.pairs, self.seed = subject, pairs, seed

    @cached_property
    def ranks(self) -> list[int]:
        """Of each pair, its position in its half of the run, from 0."""
        return ranks_in_halves(self.pairs)

    @cached_property
    def images(self) -> list[KnownImage]:
        """Every image of the run once, in order."""
        found = {image.path: image for pair in self.pairs for image in (pair.query, pair.match)}
        return list(found.values())

    @cached_property
    def units(self) -> Tensor:
        """Unit embeddings of ``images``: (n, D)."""
        return self.subject.units([self.subject.seen(image).pixels for image in self.images])

    def swapped_in(self, index: int) -> KnownImage:
        """The query of the next pair of another label; its own match in a run of one label."""
        pair = self.pairs[index]
        others = [self.pairs[(index + step) % len(self.pairs)].query for step in range(1, len(self.pairs))]
        return next((other for other in others if self._is_other(pair, other)), pair.match)

    def false_match(self, index: int) -> KnownImage | None:
        """The image of another label whose cosine with the query is nearest to that of the true match."""
        pair = self.pairs[index]
        rows = [i for i, image in enumerate(self.images) if self._is_other(pair, image)]
        if not rows:
            return None
        row_of = {image.path: i for i, image in enumerate(self.images)}
        cosines = self.units @ self.units[row_of[pair.query.path]]
        gaps = (cosines[rows] - cosines[row_of[pair.match.path]]).abs()
        return self.images[rows[int(gaps.argmin())]]

    def _is_other(self, pair: ImagePair, image: KnownImage) -> bool:
        """Whether an image does not show what a pair shows; without labels, whether no pair joins them."""
        if pair.query.label and image.label:
            return image.label != pair.query.label
        own = {pair.query.path, pair.match.path}
        joined = ({each.query.path, each.match.path} for each in self.pairs)
        return all(image.path not in paths for paths in joined if paths & own)


@dataclass(eq=False)
class PairCase:
    """One pair in front of one model."""

    roster: Roster
    index: int  # of the pair in the run
    _fills: dict[str, tuple[Pixels, Pixels]] = field(default_factory=dict)
    _filled: dict[str, Tensor] = field(default_factory=dict)

    @property
    def subject(self) -> Subject:
        """The model."""
        return self.roster.subject

    @property
    def pair(self) -> ImagePair:
        """The pair."""
        return self.roster.pairs[self.index]

    @property
    def rank(self) -> int:
        """Position of the pair in its half of the run, from 0."""
        return self.roster.ranks[self.index]

    @cached_property
    def sides(self) -> tuple[SeenImage, SeenImage]:
        """Query and match as the model sees them."""
        return self.subject.seen(self.pair.query), self.subject.seen(self.pair.match)

    @cached_property
    def grids(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The grids on which maps of query and match are compared."""
        first, second = (self.subject.grid(_size(side.pixels)) for side in self.sides)
        return first, second

    @cached_property
    def units(self) -> Tensor:
        """Unit embeddings of query and match: (2, D)."""
        return self.subject.units([side.pixels for side in self.sides])

    @property
    def similarity(self) -> float:
        """The cosine that is explained."""
        return float(self.units[0] @ self.units[1])

    @cached_property
    def false_match(self) -> SeenImage | None:
        """An image of another label with nearly the same cosine."""
        found = self.roster.false_match(self.index)
        return None if found is None else self.subject.seen(found)

    @property
    def seed(self) -> tuple[int, int]:
        """Seed of what is random about this pair."""
        return self.roster.seed, zlib.crc32(self.pair.key.encode())

    def fills(self, fill: str) -> tuple[Pixels, Pixels]:
        """What hidden cells of query and match show."""
        if fill not in self._fills:
            other = self.subject.seen(self.roster.swapped_in(self.index)).pixels
            query, match = (filling(side.pixels, fill, other) for side in self.sides)
            self._fills[fill] = query, match
        return self._fills[fill]

    def filled_units(self, fill: str) -> Tensor:
        """Unit embeddings of query and match with everything hidden: (2, D)."""
        if fill not in self._filled:
            self._filled[fill] = self.subject.units([np.ascontiguousarray(each) for each in self.fills(fill)])
        return self._filled[fill]

    @cached_property
    def random_masks(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Of each side, random halves that are kept (M, N) and the similarities (M,); the rest is blurred."""
        found = []
        for i, (side, grid) in enumerate(zip(self.sides, self.grids, strict=True)):
            kept = random_halves(grid[0] * grid[1], _N_MASKS, (*self.seed, i))
            images = hidden(side.pixels, self.fills("blur")[i], ~kept, grid)
            found.append((kept, self.subject.units(images) @ self.units[1 - i]))
        return found[0], found[1]

    @cached_property
    def coverages(self) -> tuple[Tensor | None, Tensor | None]:
        """Of each side, the fraction of each cell that belongs to what is shared; None if not known.

        None too where the network sees only what is shared, or nothing of it.
        """
        first, second = (_coverage(side, grid) for side, grid in zip(self.sides, self.grids, strict=True))
        return first, second


@dataclass(eq=False)
class ExplainedPair:
    """One pair under one method."""

    case: PairCase
    method: MapMethod
    bound: BoundMethod

    @cached_property
    def explanation(self) -> Explanation:
        """Of the pair."""
        return self._explain(*self.case.sides)

    @cached_property
    def maps(self) -> tuple[Tensor, Tensor]:
        """Of query and match, on the grids where maps are compared."""
        return self.on_grids(self.explanation)

    @cached_property
    def false_map(self) -> Tensor | None:
        """Of the query, towards the false match."""
        false = self.case.false_match
        if false is None:
            return None
        return on_grid(self._explain(self.case.sides[0], false).query, self.case.grids[0])

    def on_grids(self, explanation: Explanation) -> tuple[Tensor, Tensor]:
        """Both maps of an explanation of this pair, on the grids where maps are compared."""
        sides = (explanation.query, explanation.match)
        first, second = (on_grid(side, grid) for side, grid in zip(sides, self.case.grids, strict=True))
        return first, second

    def _explain(self, query: SeenImage, match: SeenImage) -> Explanation:
        assert self.bound.explain is not None
        found = self.bound.explain(query.reading, match.reading)
        if not all(np.isfinite(side.values).all() for side in (found.query, found.match)):
            names = f"{query.known.path.name} and {match.known.path.name}"
            raise UnsupportedMethodError(f"{self.method.name} gives maps that are not finite for {names}")
        return found


def on_grid(side: ImageMap, grid: tuple[int, int]) -> Tensor:
    """A map on another grid (h, w), its sum kept: float32."""
    values = torch.from_numpy(np.ascontiguousarray(side.values, np.float32))
    return regrid(values.reshape(-1, 1), side.grid, grid).reshape(grid)


def _coverage(side: SeenImage, grid: tuple[int, int]) -> Tensor | None:
    mask = mask_of(side.known, side.geometry.original_size)
    if mask is None:
        return None
    coverage = mask_coverage(side.geometry, torch.from_numpy(mask), grid).clamp(0, 1)
    return coverage if 0 < float(coverage.mean()) < 1 else None


def _size(pixels: Pixels) -> tuple[int, int]:
    return pixels.shape[0], pixels.shape[1]
