"""The fixed split of pairs: settings are chosen on one half and confirmed on the other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

from lookalike.datasets.pairs import ImagePair

Half: TypeAlias = Literal["choose", "confirm"]

PAIR_HALVES: tuple[Half, ...] = get_args(Half)


def half_of(pair: ImagePair) -> Half:
    """The half that a pair belongs to, always the same: ``choose`` or ``confirm``.

    By the SHA-256 of the query's file name, even or odd, so that all pairs of a query are in one half. Where
    a homography joins the images, by the name of the match: all pairs of such a sequence have one query.
    """
    image = pair.query if pair.homography is None else pair.match
    digest = hashlib.sha256(image.path.name.encode()).digest()
    return PAIR_HALVES[digest[-1] % 2]


def ranks_in_halves(pairs: Sequence[ImagePair]) -> list[int]:
    """Of each pair, how many before it are in its half: measures of few pairs take the first of each half."""
    counts = dict.fromkeys(PAIR_HALVES, 0)
    ranks = []
    for pair in pairs:
        half = half_of(pair)
        ranks.append(counts[half])
        counts[half] += 1
    return ranks
