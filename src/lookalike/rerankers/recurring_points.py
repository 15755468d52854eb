"""What recurs at changing places of many pictures: the same local features in the same arrangement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lookalike.rerankers.local_features import Frame, LocalFeatures
from lookalike.types import FloatArray, ProgressCallback, tracked

_NEAREST = 30  # features of other pictures that each feature is compared with
_PRODUCT = 0.85  # of descriptors, at least
_TURN = np.deg2rad(15.0)  # between both orientations, at most: marks stand upright
_SHIFT = 0.02  # of the picture's longer side: how exactly points lie as expected
_POINTS = 4  # that agree in their arrangement, at least
_COMMON = 3  # pictures that a point has in common with the first one, at least
_MOST_ASKED = 200  # pictures whose features are looked up
_MOST_GROUPS = 4

Arrangement = NDArray[np.int64]  # (m, 2) rows of features in both pictures


@dataclass(frozen=True, eq=False)
class MovingGroup:
    """Pictures with the same arrangement of points, and where it lies in each."""

    frames: Mapping[int, Frame]  # picture -> left, top, right, bottom in its own pixels
    largest: int  # pictures that agree with the first one


def moving_groups(
    features: Sequence[LocalFeatures],
    *,
    least: int,
    seed: int = 0,
    progress: ProgressCallback | None = None,
) -> list[MovingGroup]:
    """Groups of pictures with four or more points in one arrangement, moved and scaled but upright.

    The largest is first. A group begins with the picture that agrees with most others, ``least`` of them or
    more. In a large collection 200 random pictures are asked for theirs.
    """
    asked = np.sort(np.random.default_rng(seed).permutation(len(features))[:_MOST_ASKED]).tolist()
    index = _Index(features)
    links = {i: index.agreeing(i) for i in tracked(asked, "comparing points", len(asked), progress)}
    groups: list[MovingGroup] = []
    taken: set[int] = set()
    while len(groups) < _MOST_GROUPS:
        first = max(links, key=lambda i: len(set(links[i]) - taken), default=None)
        if first is None or len(set(links[first]) - taken) < least:
            break
        group = _group(first, links, features, taken)
        taken |= {first, *links[first]} if group is None else set(group.frames)
        if group is not None and len(group.frames) > least:
            groups.append(group)
        links.pop(first)
    return groups


class _Index:
    """The features of all pictures in one table."""

    def __init__(self, features: Sequence[LocalFeatures]) -> None:
        self._features = features
        counts = [len(each) for each in features]
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._owners = np.repeat(np.arange(len(features)), counts)
        self._table = torch.from_numpy(np.concatenate([each.descriptors for each in features]))

    def agreeing(self, i: int) -> dict[int, Arrangement]:
        """The pictures in which points of picture i recur in their arrangement, and which points."""
        own, start, end = self._features[i], int(self._starts[i]), int(self._starts[i + 1])
        if end - start < _POINTS or len(self._table) == end - start:
            return {}
        products = self._table[start:end] @ self._table.T
        products[:, start:end] = -1
        best = products.topk(min(_NEAREST, products.shape[1]), dim=1)
        pairs = defaultdict(list)
        for row, column in (best.values > _PRODUCT).nonzero().tolist():
            other = int(best.indices[row, column])
            j = int(self._owners[other])
            place = other - int(self._starts[j])
            turn = (own.angles[row] - self._features[j].angles[place] + np.pi) % (2 * np.pi) - np.pi
            if abs(turn) <= _TURN:
                pairs[j].append((row, place))
        found = {}
        for j, several in pairs.items():
            if len(several) >= _POINTS:
                agreed = _arranged(np.array(several), own, self._features[j])
                if len(set(agreed[:, 0].tolist())) >= _POINTS:
                    found[j] = agreed
        return found


def _arranged(pairs: Arrangement, a: LocalFeatures, b: LocalFeatures) -> Arrangement:
    """The pairs that agree with the shift and scale of the pair that most agree with."""
    first, second = a.points[pairs[:, 0]], b.points[pairs[:, 1]]
    tolerance = _SHIFT * max(b.size)
    best = pairs[:0]
    for row in range(len(pairs)):
        scale = b.sizes[pairs[row, 1]] / a.sizes[pairs[row, 0]]
        expected = second[row] + scale * (first - first[row])
        agreed = pairs[np.abs(second - expected).max(1) < tolerance]
        if len(agreed) > len(best):
            best = agreed
    return best


def _group(
    first: int,
    links: Mapping[int, Mapping[int, Arrangement]],
    features: Sequence[LocalFeatures],
    taken: set[int],
) -> MovingGroup | None:
    """The pictures that share points with the first, and those that share them with these; None for none."""
    own = {j: agreed for j, agreed in links[first].items() if j not in taken}
    counts = np.bincount(np.concatenate([np.unique(each[:, 0]) for each in own.values()]))
    common = np.nonzero(counts >= _COMMON)[0]
    if len(common) < _POINTS:
        return None
    rows: dict[int, list[int]] = {first: common.tolist()}
    for j, agreed in own.items():
        if len(kept := agreed[np.isin(agreed[:, 0], common)]) >= _COMMON:
            rows[j] = kept[:, 1].tolist()
    for i in [each for each in rows if each in links and each != first]:
        for j, agreed in links[i].items():
            if j not in rows and j not in taken:
                kept = agreed[np.isin(agreed[:, 0], rows[i])]
                if len(np.unique(kept[:, 0])) >= _POINTS:
                    rows[j] = kept[:, 1].tolist()
    frames = {j: _frame_of(features[j], each) for j, each in sorted(rows.items())}
    return MovingGroup(frames, len(own))


def _frame_of(features: LocalFeatures, rows: Sequence[int]) -> Frame:
    """The box around points and their surroundings, inside the picture."""
    points: FloatArray = features.points[list(rows)]
    margin = float(np.median(features.sizes[list(rows)])) * 2
    height, width = features.size
    left, top = np.maximum(points.min(0) - margin, 0)
    right, bottom = np.minimum(points.max(0) + margin, (width, height))
    return float(left), float(top), float(right), float(bottom)
