"""Generated rooms and paintings as training pictures, written once to a folder.

Rooms come in pairs that share a painting, each with a mask of where it hangs. Painting numbers start far
above those that ``lookalike.scenes.pairs`` draws from, so rooms made for tests show paintings that the
student has not seen.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from lookalike.scenes import paint, room

FIRST_PAINTING, FIRST_SEED = 1_000_000, 500_000
ALL_PAINTINGS = 1000  # numbers that are kept for paintings shown by themselves or shared by a pair
ROOM_SIZE, PAINTING_SIZE = (240, 320), 224


def generate(folder: Path, n_rooms: int, n_paintings: int) -> list[Path]:
    """Write every training scene to FOLDER as a JPEG, unless it is there; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for path, kind, number in _wanted(folder, n_rooms, n_paintings):
        if not path.exists():
            if kind == "room":
                _write_room(number, path)
            else:
                _write(paint(FIRST_PAINTING + number, PAINTING_SIZE), path)
        paths.append(path)
    return sorted(paths)


def mask_path(room: Path) -> Path:
    """Path of the mask of the shared painting, white where it is seen."""
    return room.with_suffix(".mask.png")


def _wanted(folder: Path, n_rooms: int, n_paintings: int) -> Iterator[tuple[Path, str, int]]:
    for number in range(max(n_rooms, n_paintings)):
        if number < n_rooms:
            yield folder / f"room_{number:04d}.jpg", "room", number
        if number < n_paintings:
            yield folder / f"painting_{number:04d}.jpg", "painting", number


def _write_room(number: int, path: Path) -> None:
    """Write a room; rooms 2k and 2k + 1 share their first painting."""
    rng = random.Random(number)
    others = [FIRST_PAINTING + ALL_PAINTINGS + 2 * number + i for i in range(rng.randrange(3))]
    shared = FIRST_PAINTING + number // 2
    made = room(FIRST_SEED + number, paintings=[shared, *others], size=ROOM_SIZE)
    _write(Image.fromarray(made.masks[shared]), mask_path(path))
    _write(made.image, path)


def _write(image: Image.Image, path: Path) -> None:
    """Write a picture in one step, so that a killed run leaves no partial file."""
    part = path.with_suffix(".part")
    if image.mode == "1":
        image.save(part, format="PNG")
    else:
        image.save(part, format="JPEG", quality=92)
    part.replace(path)
