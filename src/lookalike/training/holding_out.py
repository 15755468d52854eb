"""A part of the images that is held out, to say how good a model is where the data has no such split."""

from __future__ import annotations

import random
from collections import defaultdict

from lookalike.datasets import LabeledImages

_QUERIES = 2  # images of a class that are needed on each side: one to ask with, one to find


def held_out(data: LabeledImages, part: float, seed: int = 0) -> tuple[LabeledImages, LabeledImages | None]:
    """Return the images to learn from, and ``part`` of each class, at least 2 images, to evaluate on.

    Classes of fewer than 4 images are learned from only. The draw depends on the seed and on the order of the
    images of a class. The second is None if no class is large enough.
    """
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, label in enumerate(data.labels):
        rows[label].append(row)
    chosen: set[int] = set()
    for label in sorted(rows):
        if len(rows[label]) >= 2 * _QUERIES:
            n = min(max(_QUERIES, round(part * len(rows[label]))), len(rows[label]) - _QUERIES)
            chosen.update(random.Random(f"{seed} {label}").sample(rows[label], n))
    if not chosen:
        return data, None
    return _rows(data, set(range(len(data))) - chosen), _rows(data, chosen)


def _rows(data: LabeledImages, rows: set[int]) -> LabeledImages:
    kept = sorted(rows)
    return LabeledImages(tuple(data.paths[i] for i in kept), tuple(data.labels[i] for i in kept))
