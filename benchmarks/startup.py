"""What a command of the shell takes before and besides its work, as ratios to a bare ``import torch``.

Commands are run in turn, round after round, so that a machine that others use slows all of them alike; the
table gives medians of the processor time that each process used (threads: one) and of the time that passed.
Byte code is compiled before, as an installation does.

    uv run python benchmarks/startup.py --rounds 5 --photos shared/data/caltech101
"""

from __future__ import annotations

import compileall
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from environment import describe_run, parser_of

import lookalike

GOALS = {"--help": "0.3 s", "explain": "1.8", "search": "1.8"}


def run(command: list[str]) -> tuple[float, float]:
    """Processor seconds and seconds of one process."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"})
    after, end = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, end - start


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--photos", type=Path, required=True, help="folder of a few photographs")
    given = parser.parse_args()
    photos = sorted(path for path in given.photos.rglob("*") if path.suffix.lower() in (".jpg", ".png"))[:40]
    packages = Path(sys.prefix) / "lib"
    for folder in (packages, Path(lookalike.__file__).parent):
        compileall.compile_dir(folder, quiet=2, workers=os.cpu_count())
    program = [sys.executable, "-m", "lookalike"]
    with tempfile.TemporaryDirectory() as folder:
        gallery = str(Path(folder) / "photos.gallery")
        for number, photo in enumerate(photos):
            shutil.copy(photo, Path(folder) / f"{number}{photo.suffix}")
        subprocess.run([*program, "index", folder, "-g", gallery], check=True, capture_output=True)
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "import torch, timm": [sys.executable, "-c", "import torch, timm"],
            "import torch, lancedb": [sys.executable, "-c", "import torch, lancedb"],
            "--help": [*program, "--help"],
            "explain": [*program, "explain", str(photos[0]), str(photos[1])],
            "search": [*program, "search", str(photos[0]), "-g", gallery],
        }
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(given.rounds):
            for name, command in commands.items():
                taken[name].append(run(command))
    used, passed = ({n: statistics.median(t[i] for t in taken[n]) for n in commands} for i in (0, 1))
    print(describe_run())
    print("| command | processor s | ratio to import torch | s | ratio | goal |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in commands:
        ratios = (each[name] / each["import torch"] for each in (used, passed))
        columns = zip((used[name], passed[name]), ratios, strict=True)
        print(f"| {name} | {' | '.join(f'{s:.2f} | {r:.2f}' for s, r in columns)} | {GOALS.get(name, '')} |")


if __name__ == "__main__":
    main()
