"""Generated rooms and paintings as training pictures, written once to a folder.

    uv run python recipes/mini/generated_scenes.py runs/mini/scenes

Rooms come as pairs that share a painting; beside each lies a mask of where. Painting numbers start far above
those that ``lookalike.scenes.pairs`` draws from, so rooms made for tests show art the student has not seen.
"""

from __future__ import annotations

import argparse
import os
import random
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from lookalike.scenes import paint, room

ROOMS, PAINTINGS = 3000, 1000
FIRST_PAINTING, FIRST_SEED = 1_000_000, 500_000
ROOM_SIZE, PAINTING_SIZE = (240, 320), 224


def generate(folder: Path) -> list[Path]:
    """Every training scene as a JPEG in FOLDER; what is there already is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for path, kind, number in _wanted(folder):
        if not path.exists():
            if kind == "room":
                _write_room(number, path)
            else:
                _write(paint(FIRST_PAINTING + number, PAINTING_SIZE), path)
        paths.append(path)
    return sorted(paths)


def mask_path(room: Path) -> Path:
    """Where the mask of the shared painting lies: white where it is seen."""
    return room.with_suffix(".mask.png")


def _wanted(folder: Path) -> Iterator[tuple[Path, str, int]]:
    """Rooms and paintings in turn, so that a part of the list is a fair sample."""
    for number in range(max(ROOMS, PAINTINGS)):
        if number < ROOMS:
            yield folder / f"room_{number:04d}.jpg", "room", number
        if number < PAINTINGS:
            yield folder / f"painting_{number:04d}.jpg", "painting", number


def _write_room(number: int, path: Path) -> None:
    """Rooms 2k and 2k + 1 share their first painting."""
    rng = random.Random(number)
    others = [FIRST_PAINTING + PAINTINGS + 2 * number + i for i in range(rng.randrange(3))]
    shared = FIRST_PAINTING + number // 2
    made = room(FIRST_SEED + number, paintings=[shared, *others], size=ROOM_SIZE)
    _write(Image.fromarray(made.masks[shared]), mask_path(path))
    _write(made.image, path)


def _write(image: Image.Image, path: Path) -> None:
    """Complete or not at all: a killed run leaves no half picture."""
    part = path.with_suffix(".part")
    if image.mode == "1":
        image.save(part, format="PNG")
    else:
        image.save(part, format="JPEG", quality=92)
    part.replace(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    os.nice(10)
    print(f"{len(generate(parser.parse_args().folder))} pictures")
