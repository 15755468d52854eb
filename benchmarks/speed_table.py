"""One table of what speed and memory are meant to be: before, goal, now, and how much of the goal is reached.

    uv run python benchmarks/speed_table.py [--only indexing startup ...] [--large 1000000]

Runs the benchmarks that measure each line, one after the other, with rounds enough for a table of minutes;
each compares both of its sides in turn. *Before* is where the goals were set. Ratios are of elapsed time and,
where the benchmark tells it, of processor time, which other programs on the machine disturb less. *Reached*
is the share of the goal, of the first and of the second: from 1 on it is reached. A line that can't be
measured says why, and the exit code is then 1.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from environment import add_shared, describe_run, parser_of

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Line:
    """One line of the table, without its measurement."""

    what: str
    before: str
    goal: str
    bound: float  # the goal as a number, in the unit of the figures
    is_most: bool = False  # whether figures may be at most the goal, else at least

    def reached(self, figure: float) -> float:
        """The share of the goal, above 1 where the figure is better."""
        return self.bound / figure if self.is_most else figure / self.bound


Figures = dict[str, list[float]]  # of lines by key: of elapsed time, then of processor time; or one figure

LINES = {
    "adding": Line("peak of adding 100,000 records, MB", "900 to 1,260", "≤ 150", 150, is_most=True),
    "adding large": Line(
        "the same, of the rows of large galleries", "3.5 kB each", "≤ 150", 150, is_most=True
    ),
    "opening": Line("opening and first search, peak / bytes of the vectors", "2", "≤ 1.5", 1.5, is_most=True),
    "small": Line("indexing small JPEGs / bare model, 400", "0.83", "≥ 0.9", 0.9),
    "few": Line("indexing small JPEGs / bare model, 128", "0.65", "≥ 0.9", 0.9),
    "large": Line("indexing 2-megapixel JPEGs, share of the bound", "0.66 of 0.78", "≥ 1", 1),
    "resnet50": Line("OpenVINO, ResNet-50 / eager", "1", "≥ 3", 3),
    "vit_small_patch14_dinov2": Line("OpenVINO, ViT-S/14 / eager", "1", "≥ 2", 2),
    "search 10": Line(
        "exact search, 100,000 x 512, k = 10 / product and top", "1.13", "≤ 1.05", 1.05, is_most=True
    ),
    "search 100": Line("the same, k = 100", "1.17", "≤ 1.05", 1.05, is_most=True),
    "search 64": Line("the same, 64 queries, k = 10", "not measured", "≤ 1.05", 1.05, is_most=True),
    "accelerator": Line(
        "search by the index / FAISS itself, k = 10", "105 ms at 1M", "≤ 1.2", 1.2, is_most=True
    ),
    "csa fp32": Line("csa, fp32 / plain form", "1.5", "≥ 2", 2),
    "csa bf16": Line("csa, bf16 / plain form", "not measured", "≥ 3.5", 3.5),
    "avsl": Line("AVSL's distance / direct form", "6", "≥ 6", 6),
    "--help": Line("`lookalike --help`, s", "0.6", "≤ 0.3", 0.3, is_most=True),
    "explain": Line("`explain` / `import torch`", "2.9", "≤ 1.8", 1.8, is_most=True),
    "search": Line("`search` / `import torch`", "2.9", "≤ 1.8", 1.8, is_most=True),
}


# --- measuring --------------------------------------------------------------------------------


def script(name: str, *arguments: object) -> str:
    """What a benchmark prints. Raises CalledProcessError."""
    command = [sys.executable, str(HERE / name), *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def cells_of(table: str, first: str) -> list[str]:
    """The cells of the row of a Markdown table that begins with ``first``. Raises ValueError without one."""
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if cells[0] == first:
            return cells
    raise ValueError(f"no row {first!r} in what was printed")


def last_json(printed: str) -> dict:
    """The last object that was printed, on one line or several. Raises LookupError or ValueError."""
    start = [match.start() for match in re.finditer(r"^\{", printed, re.MULTILINE)][-1]
    found: dict = json.JSONDecoder().raw_decode(printed[start:])[0]
    return found


def growth(options: Namespace) -> Figures:
    sizes = {"adding": 100_000, "adding large": options.large}
    return {key: [last_json(script("growth.py", "--one", rows))["peak"]] for key, rows in sizes.items()}


def opening(options: Namespace) -> Figures:
    cells = cells_of(script("opening.py", "--rows", options.large), f"{options.large:,}")
    return {"opening": [float(cells[3])]}


def indexing(options: Namespace) -> Figures:
    import indexing as script_of_indexing

    from lookalike import Embedder

    embedder = Embedder.load("mini")
    photos = sorted((options.shared / "data" / "photos").glob("*.jpg"))
    if not photos:
        raise ValueError(f"no photographs in {options.shared / 'data' / 'photos'}")
    compare, found = script_of_indexing.compare, {}
    for key, files in (("small", photos[:400]), ("few", photos[:128])):
        found[key] = compare(files, embedder, options.rounds, None)["index_to_model"]
    with tempfile.TemporaryDirectory() as folder:
        files = script_of_indexing.write_pictures(Path(folder) / "pictures", 128)
        found["large"] = compare(files, embedder, options.rounds, None)["reached_of_the_bound"]["model"]
    return found


def runtimes(options: Namespace) -> Figures:
    found = {}
    for name in ("resnet50", "vit_small_patch14_dinov2"):
        arguments = ["--models", name, "--runtimes", "openvino", "--batch", 16, "--rounds", options.rounds]
        cells = cells_of(script("runtimes.py", *arguments), name)
        found[name] = [float(cells[3]), float(cells[4])]
    return found


def search(options: Namespace) -> Figures:
    exact = json.loads(script("search.py", "--rounds", 10 * options.rounds))["exact"]
    rows = {f"search {k}": exact[f"Gallery.search, k = {k}"] for k in (10, 100)}
    return {key: [row["ratio"], row["processor_time_ratio"]] for key, row in rows.items()} | {
        "search 64": many_queries(options.rounds)
    }


def many_queries(rounds: int) -> list[float]:
    """64 queries at once over one product of all of them, of elapsed and of processor time."""
    from search import alternately
    from synthetic import clustered_units, entries, gallery_on

    from lookalike import Embedder
    from lookalike.store import MemoryStore

    torch.set_num_threads(1)
    units, queries = clustered_units(100_000, 512), clustered_units(64, 512, seed=1)
    store = MemoryStore(512)
    for batch in entries(units):
        store.add(batch)
    gallery, vectors = gallery_on(store, Embedder.load("mini")), torch.from_numpy(units)
    sides = {
        "torch": lambda asked: (torch.from_numpy(asked) @ vectors.T).topk(10),
        "gallery": lambda asked: gallery.search_many(list(asked), k=10),
    }
    row = alternately(sides, queries[None], rounds)["gallery"]
    return [row["ratio"], row["processor_time_ratio"]]


def accelerator(options: Namespace) -> Figures:
    found = last_json(script("accelerator.py", "--rows", options.large))
    return {"accelerator": [found["k=10"]["ratio"]]}


def csa(_options: Namespace) -> Figures:
    printed = script("rerank.py", "--speed", "--queries", 2)
    return {f"csa {name}": [float(cells_of(printed, name)[2])] for name in ("fp32", "bf16")}


def avsl(_options: Namespace) -> Figures:
    printed = script("avsl_distance.py", "--threads", 1, "--direct-rows", 90, "--sop", 0)
    ratios = re.search(r"Ratio of seconds ([\d.]+), of CPU seconds ([\d.]+)", printed)
    if ratios is None:
        raise ValueError("no ratio in what was printed")
    return {"avsl": [float(ratios[1]), float(ratios[2])]}


def startup(options: Namespace) -> Figures:
    photos = options.shared / "data" / "caltech101"
    printed = script("startup.py", "--rounds", options.rounds, "--photos", photos)
    rows = {name: cells_of(printed, name) for name in ("--help", "explain", "search")}
    found = {name: [float(row[4]), float(row[2])] for name, row in rows.items()}
    return found | {"--help": [float(rows["--help"][3]), float(rows["--help"][1])]}


MEASURES: dict[str, tuple[Callable[[Namespace], Figures], tuple[str, ...]]] = {
    "growth": (growth, ("adding", "adding large")),
    "opening": (opening, ("opening",)),
    "indexing": (indexing, ("small", "few", "large")),
    "runtimes": (runtimes, ("resnet50", "vit_small_patch14_dinov2")),
    "search": (search, ("search 10", "search 100", "search 64")),
    "accelerator": (accelerator, ("accelerator",)),
    "csa": (csa, ("csa fp32", "csa bf16")),
    "avsl": (avsl, ("avsl",)),
    "startup": (startup, ("--help", "explain", "search")),
}


# --- printing ---------------------------------------------------------------------------------


def row_of(line: Line, figures: list[float]) -> str:
    """A row of the table in Markdown."""
    now = " / ".join(f"{figure:,.3g}" for figure in figures)
    reached = " / ".join(f"{line.reached(figure):.2f}" for figure in figures)
    return f"| {line.what} | {line.before} | {line.goal} | {now} | {reached} |"


def reason_of(error: Exception) -> str:
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
    lines = (said or "").strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--only", nargs="+", choices=MEASURES, help="these benchmarks; default all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--large",
        type=int,
        default=1_000_000,
        help="rows of large galleries, x 256: growth, opening, accelerator",
    )
    add_shared(parser)
    options = parser.parse_args()
    print(f"{describe_run()} · load {os.getloadavg()[0]:.1f} · {options.large:,} rows for large galleries\n")
    print("| | before | goal | now, elapsed / processor time | reached |\n|---|---|---|---|---|", flush=True)
    is_whole = True
    for name in options.only or MEASURES:
        measure, keys = MEASURES[name]
        try:
            figures = measure(options)
            rows = [row_of(LINES[key], figures[key]) for key in keys]
        except (subprocess.CalledProcessError, LookupError, ValueError, OSError) as error:
            is_whole = False
            lines = [LINES[key] for key in keys]
            rows = [
                f"| {x.what} | {x.before} | {x.goal} | not measured: {reason_of(error)} | |" for x in lines
            ]
        print("\n".join(rows), flush=True)
    sys.exit(0 if is_whole else 1)


if __name__ == "__main__":
    main()
