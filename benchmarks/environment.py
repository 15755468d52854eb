"""Helpers that benchmarks share: the line about the run, argument parsing, timing, boxes of masks."""

from __future__ import annotations

import argparse
import datetime
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

SHARED = Path(os.environ.get("LOOKALIKE_SHARED", Path(__file__).parents[2] / "shared"))


def describe_run() -> str:
    """One line with date, hardware, versions and commit."""
    return (
        f"{datetime.date.today().isoformat()} · {_processor()}, {len(os.sched_getaffinity(0))} cores, "
        f"{torch.get_num_threads()} threads · Python {platform.python_version()}, "
        f"torch {torch.__version__} · commit {_commit()}"
    )


def parser_of(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is a script's docstring as it is written."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def add_shared(parser: argparse.ArgumentParser) -> None:
    """Add ``--shared``, the folder of data and weights."""
    parser.add_argument("--shared", type=Path, default=SHARED, help="data and weights")


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def box_of_mask(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Left, top, right, bottom in pixels of what a boolean mask (H, W) shows."""
    y, x = np.nonzero(mask)
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    return answer.stdout.strip() or "unknown"
