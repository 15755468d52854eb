"""The ways that people take most: files decoded, forward passes, and seconds.

    uv run python benchmarks/journeys.py [--folder DIR]

Uses only the public contract, so that it runs on an older checkout as well: put that checkout's
``src`` first on PYTHONPATH and run both in turn. Files are generated JPEGs of 12 megapixels. The
network is counted by a hook on its first convolution, decoded files by ``Image.open``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

import lookalike
from lookalike import Gallery

N_FILES, N_REPEATS = 12, 5
SIZE = (4000, 3000)  # (W, H) pixels


class Spy:
    """Counts opened image files and forward passes of one network."""

    def __init__(self, network: nn.Module) -> None:
        self.opened = self.passes = 0
        first = next(m for m in network.modules() if isinstance(m, nn.Conv2d))
        first.register_forward_hook(lambda *_: setattr(self, "passes", self.passes + 1))
        plain = Image.open

        def counting(*args: object, **kwargs: object) -> Image.Image:
            self.opened += 1
            return plain(*args, **kwargs)  # type: ignore[arg-type]

        Image.open = counting

    def of(self, journey: Callable[[], object]) -> dict[str, float]:
        """Counts of one journey, and the median seconds of some more."""
        journey()
        self.opened = self.passes = 0
        journey()
        counted = {"decoded": self.opened, "passes": self.passes}
        seconds = []
        for _ in range(N_REPEATS):
            start = time.perf_counter()
            journey()
            seconds.append(time.perf_counter() - start)
        return {**counted, "seconds": statistics.median(seconds)}


def photo(seed: int) -> Image.Image:
    """Colored noise at several scales: (H, W, 3) RGB."""
    rng = np.random.default_rng(seed)
    image = np.zeros((SIZE[1], SIZE[0], 3), np.float32)
    for cells in (5, 40, 400):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells + 3, 3), np.uint8))
        image += np.asarray(noise.resize(SIZE, Image.Resampling.BILINEAR), np.float32) / 3
    return Image.fromarray(image.astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="Where the photographs are kept between runs.")
    folder = parser.parse_args().folder or Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{i}.jpg" for i in range(N_FILES)]
    for i, file in enumerate(files):
        if not file.exists():
            photo(i).save(file, quality=90)
    with tempfile.TemporaryDirectory() as temporary:
        gallery = Gallery.create(Path(temporary) / "g", "mini")
        gallery.add(files, workers=0)
        kept = Gallery.create(Path(temporary) / "kept", gallery.embedder, keep_shares=True)
        kept.add(files, workers=0)
        spy = Spy(gallery.embedder.network)

        def reasons(of: Gallery) -> None:
            for hit in of.search(files[0], k=10):
                lookalike.render.side_by_side(hit.why())

        journeys: dict[str, Callable[[], object]] = {
            "explain": lambda: lookalike.explain(files[0], files[1], model=gallery.embedder),
            "search": lambda: gallery.search(files[0], k=10),
            "search, maps on the query": lambda: gallery.search(files[0], k=10, explain=True),
            "search + 10 why, drawn": lambda: reasons(gallery),
            "the same, shares kept": lambda: reasons(kept),
            "search by a box + 1 why": lambda: gallery.search(files[0], k=3, box=(400, 400, 1600, 1600))[
                0
            ].why(),
        }
        for name, journey in journeys.items():
            print(json.dumps({"journey": name, **spy.of(journey)}))


if __name__ == "__main__":
    main()
