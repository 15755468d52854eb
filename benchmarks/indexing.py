"""Speed of indexing, against the bare model on tensors in memory and against a plain loop.

    uv run python benchmarks/indexing.py [--images 128] [--rounds 3] [--before OLD/src] [--shared ../shared]

Data: ../shared/data/photos where it is there, and generated JPEGs of 2 megapixels. Indexing is
``Gallery.add`` into a new gallery on disk, everything included; the plain loop opens, resizes, normalizes
and embeds one picture at a time with Pillow and torch. *model* is the network on batches of 32 tensors as
torch runs it by default, *lanes* is ``embed_pixels`` on the same pixels in memory. All sides run
alternately, each index in a process that has loaded the model; with ``--before`` that of another version,
too, and the command ``lookalike index`` of both. The bound follows from the two unavoidable costs: the time
of the model, or of lanes, and that of decoding over the cores. Ratios are medians of the rounds' own, elapsed
and of processor time; on a machine that others use trust the second.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from environment import add_shared, describe_run, parser_of, seconds
from PIL import Image

from lookalike import Embedder, Gallery, scenes
from lookalike.images.decoding import decode_file

BATCH = 32
SOURCE = Path(__file__).parents[1] / "src"


class Cost(NamedTuple):
    """What a piece of work took, in seconds."""

    elapsed: float
    processor: float  # of this process and of those that it started and that have ended


def cost(work: Callable[[], object]) -> Cost:
    before = processor_seconds()
    elapsed = seconds(work)
    return Cost(elapsed, processor_seconds() - before)


def processor_seconds() -> float:
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


def write_pictures(folder: Path, count: int) -> list[Path]:
    """Generated paintings of 1632 x 1224 pixels; no two files are the same."""
    folder.mkdir()
    files = []
    for seed in range(count):
        picture = scenes.paint(seed % 16, 400).resize((1632, 1224), Image.Resampling.BICUBIC)
        files.append(folder / f"{seed:04}.jpg")
        picture.rotate(seed // 16).save(files[-1], quality=90)
    return files


# --- the sides --------------------------------------------------------------------------------


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


def lanes(pixels: list[np.ndarray], embedder: Embedder) -> None:
    for start in range(0, len(pixels), BATCH):
        embedder.embed_pixels(pixels[start : start + BATCH])


def decode(files: list[Path], embedder: Embedder) -> None:
    for file in files:
        decode_file(str(file), embedder.preprocessing)


class Indexer:
    """A process that indexes with one version of the package, once for each call; a context manager."""

    def __init__(self, source: Path, files: list[Path], model: str, workers: int | None) -> None:
        command = [sys.executable, __file__, "--indexer", json.dumps([model, workers, *map(str, files)])]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment_of(source)
        )
        self()  # warms up

    def __call__(self) -> Cost:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("index\n")
        self._process.stdin.flush()
        return Cost(*json.loads(self._process.stdout.readline()))

    def __enter__(self) -> Indexer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def run_indexer(given: str) -> None:
    """Index when a line comes from standard input, and print what that took."""
    model, workers, *files = json.loads(given)
    embedder = Embedder.load(model)
    for _line in sys.stdin:
        print(json.dumps(cost(lambda: index([Path(file) for file in files], embedder, workers))), flush=True)


def environment_of(source: Path) -> dict[str, str]:
    return dict(os.environ, PYTHONPATH=str(source.resolve()))


def run_command(source: Path, folder: Path) -> Cost:
    """``lookalike index`` from the shell, into a new gallery."""
    with tempfile.TemporaryDirectory() as uri:
        command = [sys.executable, "-m", "lookalike", "index", str(folder), "-g", f"{uri}/g", "--json"]
        return cost(
            lambda: subprocess.run(command, check=True, capture_output=True, env=environment_of(source))
        )


# --- comparing --------------------------------------------------------------------------------


def compare(
    files: list[Path],
    embedder: Embedder,
    rounds: int,
    workers: int | None,
    before: Path | None = None,
    *,
    model: str = "mini",
) -> dict:
    """Run all sides alternately; see the head of this file."""
    pixels = [embedder.read(file).pixels for file in files]
    batches = [embedder._to_tensor(np.stack(pixels[i : i + BATCH])) for i in range(0, len(pixels), BATCH)]
    sides: dict[str, Callable[[], Cost]] = {
        "model": lambda: cost(lambda: bare_model(batches, embedder)),
        "lanes": lambda: cost(lambda: lanes(pixels, embedder)),
        "loop": lambda: cost(lambda: plain_loop(files, embedder)),
        "decode": lambda: cost(lambda: decode(files, embedder)),
    }
    with ExitStack() as stack:
        sides["index"] = stack.enter_context(Indexer(SOURCE, files, model, workers))
        if before is not None:
            sides["index_before"] = stack.enter_context(Indexer(before, files, model, workers))
        bare_model(batches[:1], embedder)
        lanes(pixels[:BATCH], embedder)
        taken = [{name: work() for name, work in sides.items()} for _ in range(rounds)]
    return summary(len(files), {name: np.array([each[name] for each in taken]) for name in sides})


def summary(n: int, costs: dict[str, np.ndarray]) -> dict:
    """Ratios of costs (rounds, 2), elapsed and of processor time: above 1 indexing is the faster side."""
    index = costs["index"]
    # Decoding runs on one thread a picture, the model on all: together they keep the cores busy at best.
    shares = np.array([1 / len(os.sched_getaffinity(0)), 1])  # of decoding, elapsed and of processor time

    def ratio(side: str, to: np.ndarray = index) -> list[float]:
        return [round(float(each), 3) for each in np.median(costs[side] / to, axis=0)]

    found = {
        "pictures": n,
        "images_per_second": {name: round(n / float(np.median(c[:, 0])), 1) for name, c in costs.items()},
        "processor_ms_an_image": {
            name: round(1000 / n * float(np.median(c[:, 1])), 2) for name, c in costs.items()
        },
        "index_to_model": ratio("model"),
        "index_to_lanes": ratio("lanes"),
        "index_to_plain_loop": ratio("loop"),
        "reached_of_the_bound": {
            side: np.median((costs[side] + shares * costs["decode"]) / index, axis=0).round(3).tolist()
            for side in ("model", "lanes")
        },
    }
    if "index_before" in costs:
        found["before_to_model"] = ratio("model", costs["index_before"])
        found["index_to_before"] = ratio("index_before")
    return found


def compare_commands(folder: Path, rounds: int, before: Path) -> dict:
    """The whole command of both versions in turn: seconds, and the ratio before / after."""
    taken = np.array([[run_command(source, folder) for source in (before, SOURCE)] for _ in range(rounds)])
    middle = np.median(taken, axis=0).round(2).tolist()
    ratios = np.median(taken[:, 0] / taken[:, 1], axis=0).round(3).tolist()
    return {"before_s": middle[0], "after_s": middle[1], "before_to_after": ratios}


def linked(files: list[Path], folder: Path) -> Path:
    """A folder with these files only."""
    folder.mkdir()
    for file in files:
        (folder / file.name).symlink_to(file.resolve())
    return folder


def main() -> None:
    if sys.argv[1:2] == ["--indexer"]:
        run_indexer(sys.argv[2])
        return
    parser = parser_of(__doc__)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--workers", type=int, default=None, help="decoding processes; default: as Gallery.add"
    )
    parser.add_argument("--before", type=Path, default=None, help="src of another version, to compare with")
    parser.add_argument("--only", choices=("photos", "command", "large"), help="one of the three comparisons")
    add_shared(parser)
    options = parser.parse_args()
    embedder = Embedder.load("mini")
    results: dict = {
        "run": describe_run(),
        "load": [round(each, 1) for each in os.getloadavg()],
        "settings": {k: str(v) for k, v in vars(options).items() if k != "shared"},
    }
    photos = sorted((options.shared / "data" / "photos").glob("*.jpg"))[: options.images]
    settings = options.rounds, options.workers, options.before
    with tempfile.TemporaryDirectory() as folder:
        if photos and options.only in (None, "photos"):
            results["photos"] = compare(photos, embedder, *settings)
        if photos and options.before and options.only in (None, "command"):
            few = linked(photos, Path(folder) / "photos")
            results["photos by the command"] = compare_commands(few, options.rounds, options.before)
        if options.only in (None, "large"):
            files = write_pictures(Path(folder) / "pictures", options.images)
            results["2-megapixel JPEGs"] = compare(files, embedder, *settings)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
