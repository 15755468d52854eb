"""Galleries and cases whose clock was a year ahead and was set right, or was set back by a year.

The process runs with a clock of its own (clock.c, compiled with cc, preloaded; Linux). The times that the
system gives to files stay right, so that they lie before or after what the clock says, as after it was set.
Commands run through the command line's own code. Prints a row for each thing that was tried.

    python benchmarks/reliability/clock.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

YEAR = 365 * 86_400
WIDTH = 256


def again_with_the_clock(folder: Path) -> int:
    """Run this script once more with the library that makes the clock wrong."""
    library, source = folder / "clock.so", Path(__file__).with_suffix(".c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "CLOCK_AHEAD": "0", "CLOCK_FOLDER": str(folder)}
    return subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode


def set_clock(seconds: int) -> None:
    """Set the clock ahead by so many seconds, or back if they are negative."""
    before = time.time()
    os.environ["CLOCK_AHEAD"] = str(seconds)
    assert abs(time.time() - before) > 1 or seconds == 0, "the clock can't be set; is the library preloaded?"


def show(tried: str, came: str) -> None:
    """Print a row of the table."""
    print(f"| {tried} | {came} |", flush=True)


def command(*arguments: object) -> str:
    """Run a command and return its exit code and last line."""
    from typer.testing import CliRunner

    from lookalike.cli import app

    ended = CliRunner().invoke(app, [str(each) for each in arguments])
    lines = [line for line in ended.output.splitlines() if line.strip()] or [repr(ended.exception)]
    return f"exit {ended.exit_code}: {lines[-1]}"


def change_unseen(file: Path) -> None:
    """Change a picture and keep its size and time, so that only its change time tells."""
    status, data = file.stat(), bytearray(file.read_bytes())
    data[-200:] = bytes(200)
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))


def indexing(top: Path) -> None:
    """A change that only the change time tells, after the clock was set right, or back."""
    from PIL import Image

    from lookalike import Gallery

    for name, (first, then) in {"ahead, then right": (YEAR, 0), "right, then set back": (0, -YEAR)}.items():
        pictures = top / name.replace(" ", "-")
        pictures.mkdir()
        for i in range(6):
            Image.effect_noise((90, 70), 60 + i).convert("RGB").save(pictures / f"{i}.bmp")
        gallery = pictures.with_suffix(".gallery")
        set_clock(first)
        command("index", pictures, "-g", gallery, "--workers", 0)
        set_clock(then)
        change_unseen(pictures / "3.bmp")
        second = Gallery.open(gallery).add(pictures, workers=0)
        third = Gallery.open(gallery).add(pictures, workers=0)
        set_clock(0)
        found = f"{second.added} changed, {third.added} at the next"
        show(f"clock {name}: one of 6 files changed, `index`", found)
        show(f"clock {name}: `gallery check`", command("gallery", "check", "-g", gallery))


def forgetting(top: Path) -> None:
    """What was forgotten by a right clock is there after others were by one that is a year ahead."""
    from PIL import Image

    from lookalike import Gallery

    pictures, gallery = top / "kept", top / "kept.gallery"
    pictures.mkdir()
    for i in range(8):
        Image.effect_noise((90, 70), 60 + i).convert("RGB").save(pictures / f"{i}.png")
    command("index", pictures, "-g", gallery, "--workers", 0)
    for i in range(3):
        set_clock(i * YEAR)
        (pictures / f"{i}.png").rename(top / f"{i}.png")
        command("index", pictures, "-g", gallery, "--workers", 0, "--prune")
    set_clock(0)
    for i in range(3):
        (top / f"{i}.png").rename(pictures / f"{i}.png")
    for _ in range(3):
        command("gallery", "restore", "-g", gallery)
    left = len(Gallery.open(gallery))
    show("3 files forgotten, each a year later by the clock: `gallery restore`", f"{left} of 8 images")


def growing(top: Path) -> None:
    """A table of many commits by a clock that is ahead, then as many by one that is right."""
    from growth import entries

    from lookalike.store import LanceStore
    from lookalike.store.upkeep import Upkeep

    tidied, tidy = [0], Upkeep.tidy

    def counted(self: Upkeep, table: object) -> None:
        tidied[0] += 1
        tidy(self, table)

    Upkeep.tidy = counted  # type: ignore[method-assign]
    store, row = LanceStore(top / "growing", WIDTH), WIDTH * 4
    for ahead in (YEAR, 0):
        set_clock(ahead)
        tidied[0] = 0
        for part in range(60):
            store.add(entries((60 if ahead == 0 else 0) * 20 + part * 20, 20, WIDTH))
        size = sum(file.stat().st_size for file in (top / "growing").rglob("*") if file.is_file())
        when = "ahead" if ahead else "right again"
        show(
            f"60 commits of 20 rows, clock {when}",
            f"{len(store)} rows, {size / (len(store) * row):.2f} times their embeddings, "
            f"compacted {tidied[0]} times",
        )


def deciding(top: Path) -> None:
    """Verdicts by a clock that is ahead, and later ones by one that is right."""
    from lookalike.gallery import CaseFile
    from lookalike.gallery.cases.pairs import CasePicture, Found

    case = CaseFile(top / "wall.sqlite", model="mini", fingerprint="f" * 64)
    hits = [{"sha256": f"{i:064x}", "name": f"{i}.jpg", "similarity": 0.9, "rank": i + 1} for i in range(3)]
    set_clock(YEAR)
    pairs = case.add_found(Found(CasePicture("a" * 64, "q.jpg"), None, None, "shares", "mini", "f", {}, hits))
    case.decide(pairs[0], "same", who="anna")
    set_clock(0)
    case.decide(pairs[0], "different", who="ben")
    case.decide(pairs[1], "same", who="ben")
    kinds = [(event.kind, event.who) for event in case.history()]
    stands = [pair.verdict for pair in case.decisions()]
    undone = case.undo()
    order = ", ".join(who for kind, who in kinds if kind == "decide")
    show(
        "verdicts by a clock that is ahead, then later ones by a right one",
        f"the later stand ({stands[0]}, {stands[1]}), by order ({order}), undo takes back the last "
        f"({undone.hit.name})",
    )


def main() -> None:
    """Print the table."""
    if "CLOCK_FOLDER" not in os.environ:
        with tempfile.TemporaryDirectory() as folder:
            sys.exit(again_with_the_clock(Path(folder)))
    from environment import describe_run

    top = Path(os.environ["CLOCK_FOLDER"])
    print(describe_run())
    print("| tried | came |\n|---|---|", flush=True)
    for part in (deciding, growing, indexing, forgetting):
        part(top)


if __name__ == "__main__":
    main()
