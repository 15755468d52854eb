"""Does asking about a part help? Generated rooms that share a painting; for photographs see paintings.py.

    uv run python benchmarks/regions.py [--model mini]

20 rooms, two for each of 10 paintings; each is asked for the other one, whole and by the box of the
painting that both show. Printed: mean reciprocal rank.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
from environment import describe_run

from lookalike import Gallery, scenes
from lookalike.gallery.query import image_query
from lookalike.gallery.regions import Box, Region


def box_of(mask: np.ndarray) -> Box:
    y, x = np.nonzero(mask)
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def rooms(model: str, seeds: range = range(4)) -> dict:
    embedder = Gallery.in_memory(model).embedder
    reciprocal: dict[str, list[float]] = {"whole": [], "box": []}
    for seed in seeds:
        made = scenes.gallery_of_rooms(seed, n_paintings=10, rooms_per_painting=2)
        units = embedder.embed([room.image for room in made.rooms])
        for i, room in enumerate(made.rooms):
            asked = image_query(room.image, embedder, Region.of(box_of(room.masks[made.labels[i]]), None))
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
    options = parser.parse_args()
    results = {"run": describe_run(), "model": options.model, **rooms(options.model)}
    print(json.dumps(results, indent=2, default=str))


if __name__ == "__main__":
    main()
