"""Does asking about a part help? Paintings on walls, and paintings in generated rooms.

    uv run python benchmarks/regions.py [--model mini] [--shared ../shared]

Paintings: 287 museum pictures; qsd1 are 30 plain photographs of some, qsd2 30 photographs on a wall,
asked whole and by the box of their mask. Rooms: 20 rooms, two for each of 10 paintings; each is asked
for the other one, whole and by the box of the painting that both show (mean reciprocal rank).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from environment import describe_run
from PIL import Image

from lookalike import Gallery, scenes
from lookalike.gallery.regions import Box, ask_region

K = 20


def recall(gallery: Gallery, queries: list[Path], relevant: dict, box: Callable[[Path], Box | None]) -> dict:
    """Share of queries with a right picture among the first hit, the first five."""
    firsts = []
    for query in queries:
        names = [hit.path.name for hit in gallery.search(query, k=K, box=box(query))]
        found = [names.index(name) + 1 for name in relevant[query.name] if name in names]
        firsts.append(min(found, default=K + 1))
    return {f"recall_at_{k}": round(float(np.mean(np.array(firsts) <= k)), 3) for k in (1, 5)}


def box_of(mask: np.ndarray) -> Box:
    y, x = np.nonzero(mask)
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def paintings(model: str, folder: Path) -> dict:
    gallery = Gallery.in_memory(model)
    gallery.add(folder / "gallery")
    relevant = json.loads((folder / "relevant.json").read_text())
    queries = {
        s: [folder / "queries" / q for q in sorted(relevant) if q.startswith(s)] for s in ("qsd1", "qsd2")
    }

    def masked(query: Path) -> Box:
        with Image.open(folder / "masks" / f"{query.stem}.png") as mask:
            return box_of(np.array(mask.convert("L")) > 127)

    return {
        "qsd1 whole": recall(gallery, queries["qsd1"], relevant, lambda _query: None),
        "qsd2 whole": recall(gallery, queries["qsd2"], relevant, lambda _query: None),
        "qsd2 box": recall(gallery, queries["qsd2"], relevant, masked),
    }


def rooms(model: str, seeds: range = range(4)) -> dict:
    embedder = Gallery.in_memory(model).embedder
    reciprocal: dict[str, list[float]] = {"whole": [], "box": []}
    for seed in seeds:
        made = scenes.gallery_of_rooms(seed, n_paintings=10, rooms_per_painting=2)
        units = embedder.embed([room.image for room in made.rooms])
        for i, room in enumerate(made.rooms):
            asked = ask_region(room.image, embedder, box=box_of(room.masks[made.labels[i]]))
            (right,) = made.matches(i)
            for name, unit in (("whole", units[i]), ("box", asked.unit)):
                cosines = units @ unit
                cosines[i] = -2
                reciprocal[name].append(1 / (1 + int((cosines > cosines[right]).sum())))
    return {
        f"rooms {name}": {"mean_reciprocal_rank": round(float(np.mean(v)), 3)}
        for name, v in reciprocal.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--shared", type=Path, default=Path(__file__).parents[2] / "shared")
    options = parser.parse_args()
    results = {"run": describe_run(), "model": options.model, **rooms(options.model)}
    folder = options.shared / "data" / "paintings"
    if folder.is_dir():
        results |= paintings(options.model, folder)
    print(json.dumps(results, indent=2, default=str))


if __name__ == "__main__":
    main()
