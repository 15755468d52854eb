"""What every benchmark prints first: date, hardware, versions, commit."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path

import torch


def describe_run() -> str:
    """One line that says when, where and with what metrics were made."""
    return (
        f"{datetime.date.today().isoformat()} · {_processor()}, {len(os.sched_getaffinity(0))} cores, "
        f"{torch.get_num_threads()} threads · Python {platform.python_version()}, "
        f"torch {torch.__version__} · commit {_commit()}"
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent, check=False)
    return answer.stdout.strip() or "unknown"
