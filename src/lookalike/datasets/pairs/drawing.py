"""Drawing of pairs: spread over classes and queries, the same for the same names and seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest

import numpy as np

from lookalike.datasets.pairs.pair import ImagePair


@dataclass(frozen=True, eq=False)
class Candidates:
    """Queries by name, the names that match each, and how a pair of names is read."""

    matches: Mapping[str, Sequence[str]]  # of each query; an image does not match itself
    classes: Mapping[str, str]  # of queries, where known; pairs are spread over them
    pair: Callable[[str, str], ImagePair]  # called for pairs that were drawn, with their two names


def draw_pairs(candidates: Candidates, limit: int, seed: int) -> tuple[ImagePair, ...]:
    """At most ``limit`` pairs; a smaller limit gives the first of a larger one's.

    Queries are taken in turn from each class, in an order that the seed decides. Each query comes once
    before any comes twice, and of a pair (a, b) and its mirror (b, a) only one comes. Images without a
    label get one that all have which matches join, drawn or not, so that none is taken for another.
    """
    names = sorted(candidates.matches)
    others = {
        name: _others(name, candidates.matches[name], [seed, number]) for number, name in enumerate(names)
    }
    turns = _in_turn(names, candidates.classes, seed)
    drawn: dict[frozenset[str], tuple[str, str]] = {}
    while turns:
        remaining = []
        for name in turns:
            match = next((m for m in others[name] if frozenset((name, m)) not in drawn), None)
            if match is None:
                continue
            if len(drawn) == limit:
                return _read(candidates, drawn)
            drawn[frozenset((name, match))] = (name, match)
            remaining.append(name)
        turns = remaining
    return _read(candidates, drawn)


def _read(candidates: Candidates, drawn: Mapping[frozenset[str], tuple[str, str]]) -> tuple[ImagePair, ...]:
    """The drawn pairs; where no label is known, it is the first name of the group that matches join."""
    pairs = [candidates.pair(query, match) for query, match in drawn.values()]
    if all(pair.query.label or pair.match.label for pair in pairs):
        return tuple(pairs)
    group_of = _groups(candidates.matches)
    labels = [group_of[query] for query, _ in drawn.values()]
    return tuple(_labeled(pair, label) for pair, label in zip(pairs, labels, strict=True))


def _labeled(pair: ImagePair, label: str) -> ImagePair:
    if pair.query.label or pair.match.label:
        return pair
    return replace(pair, query=replace(pair.query, label=label), match=replace(pair.match, label=label))


def _groups(matches: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Of each name, the first of all that it is joined with by matches, directly or by way of others."""
    neighbors: dict[str, set[str]] = {}
    for query, names in matches.items():
        for name in names:
            neighbors.setdefault(query, set()).add(name)
            neighbors.setdefault(name, set()).add(query)
    group_of: dict[str, str] = {}
    for first in sorted(neighbors):
        waiting = [first]
        while waiting:
            name = waiting.pop()
            if name not in group_of:
                group_of[name] = first
                waiting += neighbors[name]
    return group_of


def _others(name: str, matches: Sequence[str], seed: list[int]) -> Iterator[str]:
    """The matches of a query in random order; sorted and shuffled only when the first is asked for."""
    others = sorted(set(matches) - {name})
    for position in np.random.default_rng(seed).permutation(len(others)):
        yield others[position]


def _in_turn(names: Sequence[str], classes: Mapping[str, str], seed: int) -> list[str]:
    """All names, first one of each class, then a second of each, and so on; a name without class is one."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name in names:
        group = ("class", classes[name]) if classes.get(name) else ("name", name)
        groups.setdefault(group, []).append(name)
    rng = np.random.default_rng(seed)
    shuffled = [
        [groups[key][i] for i in rng.permutation(len(groups[key]))]
        for key in [sorted(groups)[i] for i in rng.permutation(len(groups))]
    ]
    return [name for turn in zip_longest(*shuffled) for name in turn if name is not None]
