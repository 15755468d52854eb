"""Plot of the losses of a training, from its log."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from lookalike.reports.plots.curves import loss_plot, save_plot

_NO_LOSS = {"step", "epoch"}
_POINTS = 200  # longer logs are averaged down to about so many


def training_curve(log: Path, picture: Path) -> Path:
    """Plot every loss column of a ``log.csv`` over its steps; long logs as means of neighboring steps."""
    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    window = max(1, len(rows) // _POINTS)
    names = [name for name in rows[0] if name not in _NO_LOSS and not name.endswith("rate")]
    steps = _averaged([float(row["step"]) for row in rows], window)
    losses = {name: _averaged([float(row[name]) for row in rows], window) for name in names}
    title = f"loss over {len(rows)} steps" + (f", means of {window}" if window > 1 else "")
    return save_plot(loss_plot(steps, losses, title=title), picture)


def _averaged(values: list[float], window: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    whole = np.array(values[: len(values) // window * window])
    averaged: np.ndarray[tuple[int], np.dtype[np.float64]] = whole.reshape(-1, window).mean(1)
    return averaged
