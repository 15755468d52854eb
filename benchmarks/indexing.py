"""Speed of indexing, against the bare model on tensors in memory and against a plain loop.

    uv run python benchmarks/indexing.py [--images 128] [--rounds 3] [--workers N] [--shared ../shared]

Data: ../shared/data/photos where it is there, and generated JPEGs of 2 megapixels. Indexing is
``Gallery.add`` into a new gallery on disk, everything included; the plain loop opens, resizes, normalizes
and embeds one picture at a time with Pillow and torch. All sides run in this process, alternately. The
bound on indexing follows from its two unavoidable costs, decoding and the model, on these cores.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from environment import add_shared, describe_run, parser_of, seconds
from PIL import Image

from lookalike import Embedder, Gallery, scenes
from lookalike.images.decoding import decode_file

BATCH = 32


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Generated paintings of 1632 x 1224 pixels; no two files are the same."""
    folder.mkdir()
    files = []
    for seed in range(count):
        picture = scenes.paint(seed % 16, 400).resize((1632, 1224), Image.Resampling.BICUBIC)
        files.append(folder / f"{seed:04}.jpg")
        picture.rotate(seed // 16).save(files[-1], quality=90)
    return files


def index(files: list[Path], embedder: Embedder, workers: int | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report = Gallery.create(Path(folder) / "g", embedder).add(files, workers=workers)
        assert report.added == len(files), report


@torch.inference_mode()
def plain_loop(files: list[Path], embedder: Embedder) -> None:
    height, width = embedder.preprocessing.input_size
    mean, std = (
        torch.tensor(v)[:, None, None] for v in (embedder.preprocessing.mean, embedder.preprocessing.std)
    )
    for file in files:
        with Image.open(file) as image:
            small = image.convert("RGB").resize((width, height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255
        torch.nn.functional.normalize(embedder.network(((pixels - mean) / std)[None]))


@torch.inference_mode()
def bare_model(batches: list[torch.Tensor], embedder: Embedder) -> None:
    for batch in batches:
        embedder.network(batch)


def decode(files: list[Path], embedder: Embedder) -> None:
    for file in files:
        decode_file(str(file), embedder.preprocessing)


def compare(files: list[Path], embedder: Embedder, rounds: int, workers: int | None) -> dict:
    pixels = [embedder.read(file).pixels for file in files]
    batches = [embedder._to_tensor(np.stack(pixels[i : i + BATCH])) for i in range(0, len(pixels), BATCH)]
    sides: dict[str, Callable[[], object]] = {
        "model": lambda: bare_model(batches, embedder),
        "index": lambda: index(files, embedder, workers),
        "loop": lambda: plain_loop(files, embedder),
        "decode": lambda: decode(files, embedder),
    }
    bare_model(batches[:1], embedder)
    times = np.array([[seconds(work) for work in sides.values()] for _ in range(rounds)])
    model, indexing, _, decoding = np.median(times, axis=0)
    cores = len(os.sched_getaffinity(0))
    # Decoding runs on one thread a picture, the model on all: together they keep the cores busy at best.
    least = max(model, model + decoding / cores)
    n = len(files)
    return {
        "pictures": n,
        "images_per_second": {
            name: round(n / float(t), 1) for name, t in zip(sides, np.median(times, axis=0), strict=True)
        },
        "index_to_model": round(float(np.median(times[:, 0] / times[:, 1])), 3),
        "index_to_plain_loop": round(float(np.median(times[:, 2] / times[:, 1])), 2),
        "bound_by_decoding_on_the_same_cores": round(float(model / least), 3),
        "reached_of_this_bound": round(float(least / indexing), 3),
    }


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--workers", type=int, default=None, help="decoding processes; default: as Gallery.add"
    )
    add_shared(parser)
    options = parser.parse_args()
    embedder = Embedder.load("mini")
    results: dict = {
        "run": describe_run(),
        "settings": {k: str(v) for k, v in vars(options).items() if k != "shared"},
    }
    photos = sorted((options.shared / "data" / "photos").glob("*.jpg"))[: options.images]
    if photos:
        results["photos"] = compare(photos, embedder, options.rounds, options.workers)
    with tempfile.TemporaryDirectory() as folder:
        files = write_pictures(Path(folder) / "pictures", options.images)
        results["2-megapixel JPEGs"] = compare(files, embedder, options.rounds, options.workers)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
