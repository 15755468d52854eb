"""Cost of explanations: a search with the query's map for every hit, against one without.

    uv run python benchmarks/why.py [--model mini] [--rows 10000] [--hits 100] [--rounds 100] [--threads 1]

The query is a picture that is read and embedded in every search; the gallery holds random unit vectors.
Both kinds of search run in this process, alternately. Prints medians, the median of the differences, and
the largest difference between a map's sum and its cosine.
"""

from __future__ import annotations

import io
import json
import time

import numpy as np
import torch
from environment import describe_run, parser_of
from synthetic import gallery_in_memory

from lookalike import Embedder, Gallery, scenes


def query_file() -> bytes:
    """A generated room as a JPEG of 640 x 480 pixels."""
    buffer = io.BytesIO()
    scenes.gallery_of_rooms(0, n_paintings=1, rooms_per_painting=1).rooms[0].image.resize((640, 480)).save(
        buffer, "JPEG", quality=90
    )
    return buffer.getvalue()


def search_seconds(gallery: Gallery, query: bytes, hits: int, *, explain: bool) -> float:
    start = time.perf_counter()
    gallery.search(query, k=hits, explain=explain)
    return time.perf_counter() - start


def largest_gap(gallery: Gallery, query: bytes, hits: int) -> float:
    found = gallery.search(query, k=hits, explain=True)
    return max(abs(float(hit.query_map.sum()) - hit.similarity) for hit in found)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--hits", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    gallery = gallery_in_memory(Embedder.load(options.model), options.rows)
    query = query_file()
    gap = largest_gap(gallery, query, options.hits)  # warms up as well
    times = np.array(
        [
            [search_seconds(gallery, query, options.hits, explain=explain) for explain in (False, True)]
            for _ in range(options.rounds)
        ]
    )
    plain, explained = np.median(times, axis=0)
    added = float(np.median(times[:, 1] - times[:, 0]))
    print(
        json.dumps(
            {
                "run": describe_run(),
                "settings": vars(options),
                "search_ms": round(1e3 * plain, 2),
                "search_with_maps_ms": round(1e3 * explained, 2),
                "added_ms": round(1e3 * added, 2),
                "added_share": round(added / plain, 3),
                "fastest_ms": [round(1e3 * t, 2) for t in times.min(0)],
                "largest_gap_of_map_sum_and_cosine": gap,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
