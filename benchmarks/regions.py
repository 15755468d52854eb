"""Search by a region against search by the whole, on generated rooms that share a painting.

    uv run python benchmarks/regions.py [--model mini]

20 rooms, two for each of 10 paintings; each is the query for the other one, whole and by the box of the
painting that both show. Prints the mean reciprocal rank. For photographs see paintings.py.
"""

from __future__ import annotations

import json

import numpy as np
from environment import box_of_mask, describe_run, parser_of

from lookalike import Gallery, scenes
from lookalike.gallery.query import image_query
from lookalike.gallery.regions import Region


def rooms(model: str, seeds: range = range(4)) -> dict:
    embedder = Gallery.in_memory(model).embedder
    reciprocal: dict[str, list[float]] = {"whole": [], "box": []}
    for seed in seeds:
        made = scenes.gallery_of_rooms(seed, n_paintings=10, rooms_per_painting=2)
        units = embedder.embed([room.image for room in made.rooms])
        for i, room in enumerate(made.rooms):
            region = Region.of(box_of_mask(room.masks[made.labels[i]]), None)
            asked = image_query(room.image, embedder, region)
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
    parser = parser_of(__doc__)
    parser.add_argument("--model", default="mini")
    options = parser.parse_args()
    results = {"run": describe_run(), "model": options.model, **rooms(options.model)}
    print(json.dumps(results, indent=2, default=str))


if __name__ == "__main__":
    main()
