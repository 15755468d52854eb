"""Generated rooms written to a folder as pairs with exact masks, for ``datasets.pairs.read_pairs``."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from lookalike.datasets.pairs import ImagePair, KnownImage, write_pairs
from lookalike.errors import DatasetError, writing
from lookalike.scenes.pairs import room_pair
from lookalike.scenes.rooms import Room


def write_room_pairs(
    folder: str | Path, n: int, *, seed: int = 0, size: tuple[int, int] = (240, 320)
) -> Path:
    """Write n pairs of rooms that share one painting each, its masks and ``pairs.csv``; return the folder.

    The first pairs of a larger n are those of a smaller one. ``size`` (H, W) is in pixels. Raises
    DatasetError if the folder can't be written, ValueError as ``room_pair``.
    """
    folder = Path(folder)
    pairs = []
    with writing(folder, DatasetError):
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(n):
            query, match, painting = room_pair(seed * 100_000 + i, size=size)
            sides = [
                _write(folder / f"{i:04}-{side}.png", room, painting)
                for side, room in (("a", query), ("b", match))
            ]
            pairs.append(ImagePair(sides[0], sides[1], "rooms", root=folder))
    write_pairs(folder, pairs)
    return folder


def _write(file: Path, room: Room, painting: int) -> KnownImage:
    mask = file.with_name(f"{file.stem}-mask.png")
    room.image.save(file)
    Image.fromarray(room.masks[painting]).save(mask)
    return KnownImage(file, f"painting {painting}", mask)
