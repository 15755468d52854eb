"""Kills and full disks at every file event and at random moments, of what writes a gallery or a training.

Needs a C compiler and Linux: ``file_events.c`` is built and preloaded, counts what this process does to the
files of a gallery (opened for writing, writes, syncs, renames, links, removals, folders; those of LanceDB's
Rust code, too), and sends SIGKILL before the n-th event or in the middle of the n-th write, or leaves no room
from the n-th event on. After each, the gallery is opened, compared with its state before and after the work,
and used; then the work is done again, and its end compared with that of an undisturbed run. Prints a table.

    python benchmarks/reliability/kills.py [--only add,train] [--moments 100] [--events 400] [--seed 0]
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

COUNT, KILL_BEFORE, KILL_WITHIN, FULL = range(4)
KINDS = {"event": KILL_BEFORE, "within": KILL_WITHIN, "full": FULL}
WORDS = {
    "event": "kill before an event",
    "within": "kill within a write",
    "full": "disk full from an event on",
    "moment": "kill at a random moment",
}
SECONDS = 240  # of a run; more is a hang


def preload() -> None:
    """Build the library and start this script again with it, unless that has been done."""
    if "events_arm" in os.environ.get("LOOKALIKE_KILLS", ""):
        return
    library = Path(tempfile.mkdtemp(prefix="kills-")) / "file_events.so"
    source = Path(__file__).with_name("file_events.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    os.environ.update(LD_PRELOAD=str(library), LOOKALIKE_KILLS="events_arm", OMP_NUM_THREADS="1")
    os.execv(sys.executable, [sys.executable, *sys.argv])


# --- the works ---------------------------------------------------------------------------------


def pictures(folder: Path, first: int, n: int) -> None:
    """Write n noisy pictures, each of its own."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + n):
        draw = np.random.default_rng(number)
        pixels = np.clip(draw.integers(30, 226, 3) + draw.normal(0, 25, (48, 64, 3)), 0, 255)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")


@dataclass
class Work:
    """Something that writes: how its folder is made, what it does, and what it leaves."""

    name: str
    prepare: Callable[[Path], None]
    run: Callable[[Path], object]
    finish: Callable[[Path], object]  # what a user does after an interruption
    state: Callable[[Path], dict[str, Any]]
    where: str = "g"  # the folder whose events count


def gallery(top: Path) -> Any:
    from lookalike.gallery import Gallery

    return Gallery.open(top / "g", MODEL[0])


MODEL: list[Any] = []  # of the galleries: loaded once, before the first fork


def add_all(top: Path) -> object:
    from lookalike.gallery import Gallery, add_run

    add_run.BATCH = add_run._COMMIT_ROWS = 8  # several commits
    return (gallery(top) if (top / "g/gallery.json").exists() else Gallery.create(top / "g", MODEL[0])).add(
        top / "p", metadata=lambda path: {"number": path.stem}, workers=0
    )


def update_all(top: Path) -> object:
    return gallery(top).update(top / "p", workers=0)


def prune(top: Path) -> object:
    return gallery(top).prune()


def optimize(top: Path) -> object:
    return gallery(top).optimize()


def calibrate(top: Path) -> object:
    files = sorted((top / "p").rglob("*.png"))
    same = [(file, file, True) for file in files[:6]]
    return gallery(top).calibrate(
        [*same, *((a, b, False) for a, b in zip(files[:6], files[6:], strict=False))]
    )


def prepare_create(top: Path) -> None:
    pictures(top / "p", 0, 24)


def prepare_add(top: Path) -> None:
    pictures(top / "p" / "a", 0, 10)
    add_all(top)
    pictures(top / "p" / "b", 10, 24)


def prepare_update(top: Path) -> None:
    for name, first in (("a", 0), ("b", 10)):
        pictures(top / "p" / name, first, 10)
    add_all(top)
    pictures(top / "other", 50, 3)
    for number in (0, 1, 2):  # changed
        (top / "other" / f"{50 + number}.png").replace(top / "p" / "a" / f"{number}.png")
    shutil.copy(top / "p" / "a" / "4.png", top / "p" / "a" / "3.png")  # overwritten with another's content
    (top / "p" / "a" / "5.png").rename(top / "p" / "b" / "moved.png")
    for number in (10, 11):
        (top / "p" / "b" / f"{number}.png").unlink()
    pictures(top / "p" / "c", 30, 6)


def prepare_prune(top: Path) -> None:
    pictures(top / "p" / "a", 0, 24)
    add_all(top)
    for number in range(7):
        (top / "p" / "a" / f"{number}.png").unlink()


def prepare_optimize(top: Path) -> None:
    for first in range(0, 24, 3):
        pictures(top / "p" / "a", first, 3)
        add_all(top)


def train_once(top: Path, resume: bool = False) -> object:
    from lookalike.training import RuntimeOptions, TrainSettings, fit

    settings = TrainSettings(
        epochs=2, batch_size=6, images_per_class=2, input_size=(32, 48), warm_up_epochs=1, keep_best=True
    )
    runtime = RuntimeOptions(accelerator="cpu", checkpoint_every=1)
    return fit(
        top / "data", "mini", out=top / "g", settings=settings, evaluate_on=top / "test", resume=resume,
        runtime=runtime,
    )  # fmt: skip


def resume_training(top: Path) -> object:
    started = (top / "g" / "training.json").exists()
    return train_once(top, resume=started)


def prepare_train(top: Path) -> None:
    for number in range(3):
        pictures(top / "data" / f"class{number}", 100 * number, 4)
        pictures(top / "test" / f"other{number}", 1000 + 100 * number, 3)


def gallery_state(top: Path) -> dict[str, Any]:
    """Rows by file, with what speaks against the gallery; opens and uses it."""
    opened = gallery(top)
    rows = list(opened.records())
    files = [(file.path, record.hash, dict(file.metadata)) for record in rows for file in record.files]
    ids = Counter(record.id for record in rows)
    paths = Counter(path for path, _, _ in files)
    if rows:
        opened.search(rows[0].id, k=3)
    unsound = [f"{f.part}: {f.n} {f.problem}" for f in opened.check(contents=True).findings if f.is_damage]
    return {
        "files": {path: [hash, metadata] for path, hash, metadata in files},
        "doubled": sum(n - 1 for n in ids.values()) + sum(n - 1 for n in paths.values()),
        "unsound": unsound,
        "calibration": None if opened.calibration is None else opened.calibration.to_dict(),
    }


def nothing(top: Path) -> dict[str, Any]:
    return {"files": {}, "doubled": 0, "unsound": [], "calibration": None}


def created_state(top: Path) -> dict[str, Any]:
    return gallery_state(top) if (top / "g" / "gallery.json").exists() else nothing(top)


def training_state(top: Path) -> dict[str, Any]:
    weights = top / "g" / "model.safetensors"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else ""
    log = (top / "g" / "log.csv").read_text() if (top / "g" / "log.csv").exists() else ""
    losses = [line.split(",")[:3] for line in log.splitlines()]
    return {"weights": digest, "losses": losses}


WORKS = {
    work.name: work
    for work in (
        Work("create", prepare_create, add_all, add_all, created_state),
        Work("add", prepare_add, add_all, add_all, gallery_state),
        Work("update", prepare_update, update_all, update_all, gallery_state),
        Work("prune", prepare_prune, prune, prune, gallery_state),
        Work("optimize", prepare_optimize, optimize, optimize, gallery_state),
        Work("calibrate", prepare_prune, calibrate, calibrate, gallery_state),
        Work("train", prepare_train, train_once, resume_training, training_state),
    )
}  # fmt: skip


# --- killing -----------------------------------------------------------------------------------


@dataclass
class Ended:
    """How a child process ended."""

    killed: bool
    seconds: float
    answer: dict[str, Any] = field(default_factory=dict)  # result, or error


def child(work: Callable[[], Any], *, kill_after: float | None = None) -> Ended:
    """Do the work in a fork of this process; its result, a value for JSON, comes back by a file."""
    out = Path(tempfile.mkstemp(prefix="kills-", suffix=".json")[1])
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # LanceDB warns of forks
        pid = os.fork()
    if pid == 0:
        warnings.simplefilter("ignore")
        code = 0
        try:
            answer = {"result": work()}
        except BaseException as error:
            sentence = type(error).__module__.startswith("lookalike")
            answer = {"error": str(error), "is_sentence": sentence, "trace": traceback.format_exc()}
        try:
            ctypes.CDLL(None).events_arm(b"", 0, COUNT)
            out.write_text(json.dumps(answer, default=str))
        finally:
            os._exit(code)
    end = begun + SECONDS
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    while os.waitpid(pid, os.WNOHANG)[0] == 0:
        time.sleep(0.005)
        if time.perf_counter() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError(f"a run took more than {SECONDS} s")
    text = out.read_text()
    out.unlink()
    return Ended(not text, time.perf_counter() - begun, json.loads(text) if text else {})


class Place:
    """A folder that is made anew for each run, always at the same path, for galleries store paths."""

    def __init__(self, work: Work, top: Path) -> None:
        self.work, self.now, self.kept = work, top / "now", top / work.name
        self.now.mkdir(parents=True)
        fixed = child(lambda: (self.work.prepare(self.now), None)[1])
        if "error" in fixed.answer:
            raise RuntimeError(fixed.answer["trace"])
        shutil.copytree(self.now, self.kept)
        self.fresh()

    def fresh(self) -> None:
        """Bring the folder back to the state before the work."""
        shutil.rmtree(self.now, ignore_errors=True)
        shutil.copytree(self.kept, self.now)

    def armed(self, event: int, how: int) -> Callable[[], Any]:
        """The work, counting events; its result is their number and kinds."""

        def run() -> Any:
            library = ctypes.CDLL(None)
            library.events_kinds.restype = ctypes.c_char_p
            library.events_arm(str(self.now / self.work.where).encode(), event, how)
            self.work.run(self.now)
            return [library.events_seen(), library.events_kinds().decode()]

        return run


@dataclass
class Tally:
    """What came of the runs of one kind."""

    runs: int = 0
    ended_before: int = 0
    unopened: int = 0
    lost: int = 0
    doubled: int = 0
    not_finished: int = 0
    different: int = 0
    no_sentence: int = 0
    examples: list[str] = field(default_factory=list)

    def note(self, what: str) -> None:
        if len(self.examples) < 6:
            self.examples.append(what)


def judge(place: Place, before: dict[str, Any], after: dict[str, Any], tally: Tally, label: str) -> None:
    """Open what the interruption left, compare, finish the work, compare again."""
    work = place.work

    def look_and_finish() -> list[Any]:
        try:
            seen: Any = work.state(place.now)
        except Exception as error:
            seen = f"{type(error).__name__}: {error}"
        work.finish(place.now)
        return [seen, work.state(place.now)]

    judged = child(look_and_finish)
    if "result" not in judged.answer:
        tally.not_finished += 1
        tally.note(f"{label}: can't be finished: {judged.answer.get('error', 'killed')[:300]}")
        return
    seen, finished = judged.answer["result"]
    if isinstance(seen, str):
        tally.unopened += 1
        tally.note(f"{label}: does not open: {seen[:300]}")
    elif "files" in before:
        tally.doubled += seen["doubled"]
        for path in {*before["files"]} & {*after["files"]}:
            now = seen["files"].get(path)
            if now is None or now[0] not in (before["files"][path][0], after["files"][path][0]):
                tally.lost += 1
                tally.note(f"{label}: lost {Path(path).name}")
        if seen["unsound"]:
            tally.note(f"{label}: {seen['unsound']}")
            tally.unopened += 1
    if finished != after:
        tally.different += 1
        keys = [key for key in after if finished.get(key) != after[key]]
        tally.note(f"{label}: ends otherwise in {keys}: {str([finished.get(k) for k in keys])[:300]}")


def examine(work: Work, top: Path, arguments: argparse.Namespace) -> list[tuple[str, Tally]]:
    """All runs of one work."""
    shutil.rmtree(top, ignore_errors=True)
    place = Place(work, top)
    before = child(lambda: work.state(place.now)).answer.get("result") or nothing(top)
    place.fresh()
    whole = child(place.armed(0, COUNT))
    if "error" in whole.answer:
        raise RuntimeError(whole.answer["trace"])
    n_events, kinds = whole.answer["result"]
    after = child(lambda: work.state(place.now)).answer["result"]
    again = child(lambda: (work.finish(place.now), work.state(place.now))[1]).answer.get("result")
    print(
        f"{work.name}: {n_events} events {dict(Counter(kinds))}, {whole.seconds:.1f} s; done twice is done "
        f"once: {again == after}",
        flush=True,
    )
    draw = random.Random(arguments.seed)
    results: list[tuple[str, Tally]] = []
    for kind, how in KINDS.items():
        events = [n for n in range(1, n_events + 1) if kind != "within" or kinds[n - 1] == "w"]
        if len(events) > arguments.events:
            events = sorted(draw.sample(events, arguments.events))
        tally = Tally()
        for event in events:
            place.fresh()
            ended = child(place.armed(event, how))
            tally.runs += 1
            tally.ended_before += not ended.killed and how != FULL
            if how == FULL and "error" in ended.answer and not ended.answer["is_sentence"]:
                tally.no_sentence += 1
                tally.note(f"full at event {event} ({kinds[event - 1]}): {ended.answer['trace'][-400:]}")
            judge(place, before, after, tally, f"{kind} {event} ({kinds[event - 1]})")
        results.append((kind, tally))
        report(work.name, kind, tally)
    tally = Tally()
    for _ in range(arguments.moments):
        place.fresh()
        moment = draw.uniform(0, whole.seconds)
        tally.runs += 1
        tally.ended_before += not child(place.armed(0, COUNT), kill_after=moment).killed
        judge(place, before, after, tally, f"after {moment:.3f} s")
    results.append(("moment", tally))
    report(work.name, "moment", tally)
    shutil.rmtree(top, ignore_errors=True)
    return results


def report(work: str, kind: str, tally: Tally) -> None:
    """A row of the table, and what was seen."""
    sound, same = tally.runs - tally.unopened, tally.runs - tally.not_finished - tally.different
    bare = tally.no_sentence if kind == "full" else "-"
    cells = (work, WORDS[kind], tally.runs, sound, tally.lost, tally.doubled, same, bare)
    print(f"| {' | '.join(map(str, cells))} |", flush=True)
    for example in tally.examples:
        print("    " + example.replace("\n", "\n    "), flush=True)


def main() -> None:
    """Examine all works, or those asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(WORKS), help="works, separated by commas")
    parser.add_argument("--moments", type=int, default=100, help="kills at random moments of each work")
    parser.add_argument("--events", type=int, default=400, help="at most so many events of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "lookalike-kills")
    arguments = parser.parse_args()
    preload()
    import torch
    from environment import describe_run

    importlib.import_module("lookalike.gallery")  # before the forks: it takes longer than a work
    importlib.import_module("lookalike.training")
    from lookalike.models.embedder import Embedder

    torch.set_num_threads(1)
    MODEL.append(Embedder.load("mini"))
    print(describe_run())
    print(
        "| work | interruption | runs | sound | rows lost | doubled | same end | errors without a sentence |"
    )
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in arguments.only.split(","):
        examine(WORKS[name], arguments.folder / name, arguments)


if __name__ == "__main__":
    main()
