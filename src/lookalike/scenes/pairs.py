"""Rooms with known matches: a pair that shares one painting, and a gallery for retrieval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lookalike.scenes.rooms import Room, room

_SEEDS = 2**31
_PAINTINGS = 4096  # ids that pairs draw from


@dataclass(frozen=True)
class RoomGallery:
    """Rooms in random order, and which painting each was made for."""

    rooms: tuple[Room, ...]
    labels: tuple[int, ...]  # of each room: the painting it shares with its true matches

    def matches(self, index: int) -> tuple[int, ...]:
        """Indices of the other rooms that show the painting of that room."""
        label = self.labels[index]
        return tuple(i for i, other in enumerate(self.labels) if other == label and i != index)


def room_pair(seed: int, *, size: tuple[int, int] = (240, 320)) -> tuple[Room, Room, int]:
    """Two rooms that share exactly one painting, and its id; each may hold up to two others."""
    rng = np.random.default_rng([seed, 21])
    ids = [int(i) for i in rng.choice(_PAINTINGS, 5, replace=False)]
    n_first, n_second = rng.integers(0, 3, 2)
    first_seed, second_seed = (int(s) for s in rng.choice(_SEEDS, 2, replace=False))
    first = room(first_seed, paintings=[ids[0], *ids[1 : 1 + n_first]], size=size)
    second = room(second_seed, paintings=[ids[0], *ids[3 : 3 + n_second]], size=size)
    return first, second, ids[0]


def gallery_of_rooms(
    seed: int, *, n_paintings: int, rooms_per_painting: int, size: tuple[int, int] = (240, 320)
) -> RoomGallery:
    """Rooms for n_paintings different paintings, rooms_per_painting of each, shuffled.

    Other paintings may hang beside the shared one; each of them hangs in one room only, so that two
    rooms share a painting exactly if they have the same label.
    """
    if n_paintings < 1 or rooms_per_painting < 1:
        raise ValueError(f"a gallery needs at least one room, got {n_paintings} x {rooms_per_painting}")
    rng = np.random.default_rng([seed, 22])
    count = n_paintings * rooms_per_painting
    ids = rng.permutation(n_paintings + 2 * count)
    labels = rng.permutation(np.repeat(ids[:n_paintings], rooms_per_painting))
    others = ids[n_paintings:].reshape(count, 2)
    seeds = rng.choice(_SEEDS, count, replace=False)
    rooms = []
    for label, extra, room_seed in zip(labels, others, seeds, strict=True):
        shown = [int(label), *(int(i) for i in extra[: rng.integers(0, 3)])]
        rooms.append(room(int(room_seed), paintings=shown, size=size))
    return RoomGallery(tuple(rooms), tuple(int(label) for label in labels))
