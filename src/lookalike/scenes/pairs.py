"""Pairs and galleries of rooms with known matches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lookalike.scenes.rooms import Room, room

_SEEDS = 2**31
_PAINTINGS = 4096  # number of ids from which pairs draw


@dataclass(frozen=True)
class RoomGallery:
    """Rooms in random order with labels for retrieval."""

    rooms: tuple[Room, ...]
    labels: tuple[int, ...]  # id of the painting that each room shares with its true matches

    def matches(self, index: int) -> tuple[int, ...]:
        """Return the indices of the other rooms with the same label."""
        label = self.labels[index]
        return tuple(i for i, other in enumerate(self.labels) if other == label and i != index)


def room_pair(seed: int, *, size: tuple[int, int] = (240, 320)) -> tuple[Room, Room, int]:
    """Two rooms that share exactly one painting, and the id of that painting.

    Each room may show up to two others. ``size`` (H, W) is in pixels. Raises ValueError as ``room``.
    """
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
    """Shuffled rooms, ``rooms_per_painting`` for each of ``n_paintings`` paintings.

    Two rooms share a painting if and only if they have the same label: additional paintings occur in
    one room only. ``size`` (H, W) is in pixels. Raises ValueError for no rooms and as ``room``.
    """
    if n_paintings < 1 or rooms_per_painting < 1:
        raise ValueError(
            "n_paintings and rooms_per_painting must be at least 1, "
            f"got {n_paintings} and {rooms_per_painting}"
        )
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
