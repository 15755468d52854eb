"""Galleries in places that fail: a disk that is full, read-only or gone; two writers; a reader beside them.

Runs real commands (``lookalike index``, ``gallery check``) on generated pictures. The disks are small tmpfs
mounts, which need root. Prints a table: the place, the exit code and last line of the command, and what was
there after it.

    python benchmarks/reliability/places.py [--only full_disks,read_only,vanished,writers]
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))
from environment import describe_run, parser_of
from kills import pictures

COMMAND = [sys.executable, "-m", "lookalike"]


@contextlib.contextmanager
def disk(folder: Path, megabytes: float) -> Iterator[Path]:
    """A small disk of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    options = f"size={round(megabytes * 1024)}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Change a mount."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and last line of a command."""
    command = [*COMMAND, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in (ended.stdout + ended.stderr).splitlines() if line.strip()]
    return ended.returncode, lines[-1] if lines else ""


def sound(gallery: Path) -> str:
    """Images of a gallery, and whether it is sound."""
    command = [*COMMAND, "gallery", "check", "-g", str(gallery), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        report = json.loads(ended.stdout)
    except ValueError:
        return f"does not open: {ended.stderr.strip()}"
    findings = "; ".join(f"{each['part']}: {each['problem']}" for each in report["findings"])
    return f"{report['n_images']} images, {'sound' if report['is_sound'] else findings}"


def show(place: str, came: tuple[int, str], after: str) -> None:
    """A row of the table."""
    print(f"| {place} | {came[0]} | {came[1]} | {after} |", flush=True)


def full_disks(top: Path) -> None:
    """Disks of several sizes fill while indexing; then there is room."""
    for megabytes in (0.02, 0.1, 0.3):
        with disk(top / "full", megabytes) as place:
            came = run("index", top / "p", "-g", place / "g")
            after = sound(place / "g") if (place / "g" / "gallery.json").exists() else "no gallery"
            show(f"a disk of {megabytes * 1000:.0f} kB", came, after)
            remount(place, "size=100m")
            show("the same, with room", run("index", top / "p", "-g", place / "g"), sound(place / "g"))


def read_only(top: Path) -> None:
    """A gallery on a disk that is mounted read-only."""
    with disk(top / "ro", 100) as place:
        run("index", top / "p" / "a", "-g", place / "g")
        remount(place, "ro")
        show("read-only: index", run("index", top / "p", "-g", place / "g"), sound(place / "g"))
        query = next((top / "p" / "a").iterdir())
        show("read-only: search", run("search", query, "-g", place / "g", "-k", 1), sound(place / "g"))


def vanished(top: Path) -> None:
    """A gallery whose disk is gone, and pictures whose disk is gone."""
    with disk(top / "usb", 100) as place:
        pictures(place / "p", 500, 8)
        run("index", place / "p", "-g", top / "kept")
        run("index", top / "p" / "a", "-g", place / "g")
    show(
        "a gallery that is gone: search",
        run("search", top / "p" / "a" / "0.png", "-g", top / "usb" / "g"),
        "",
    )
    pruned = run("index", top / "usb" / "p", "-g", top / "kept", "--prune")
    show("pictures that are gone: index --prune", pruned, sound(top / "kept"))
    (top / "usb" / "p").mkdir()
    emptied = run("index", top / "usb" / "p", "-g", top / "kept", "--prune")
    show("pictures' folder is empty: index --prune", emptied, sound(top / "kept"))


def writers(top: Path) -> None:
    """Two writers of overlapping folders, and readers beside them."""
    gallery = top / "shared"
    run("index", top / "p" / "a", "-g", gallery)
    stop, found, errors = threading.Event(), [0], []

    def read() -> None:
        from lookalike import Gallery

        opened = Gallery.open(gallery)
        while not stop.is_set():
            try:
                found[0] += len(opened.search(top / "p" / "a" / "0.png", k=3)) == 3
            except Exception as error:
                errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    commands = [[*COMMAND, "index", str(top / "p"), "-g", str(gallery)] for _ in range(2)]
    running = [
        subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for c in commands
    ]
    outputs = [each.communicate()[0].strip().splitlines()[-1] for each in running]
    stop.set()
    reader.join()
    code = max(each.returncode for each in running)
    show("two writers", (code, " / ".join(outputs)), sound(gallery))
    show("a reader beside them", (0, f"{found[0]} searches right, {len(errors)} errors {errors[:1]}"), "")


def main() -> None:
    """Print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--only", default="full_disks,read_only,vanished,writers")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        pictures(top / "p" / "a", 0, 20)
        pictures(top / "p" / "b", 20, 80)
        print(describe_run())
        print("| place | exit | last line | after |")
        print("|---|---|---|---|", flush=True)
        for part in (full_disks, read_only, vanished, writers):
            if part.__name__ in arguments.only.split(","):
                part(top)


if __name__ == "__main__":
    main()
