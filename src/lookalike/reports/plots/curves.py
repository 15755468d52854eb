"""matplotlib plots: precision over recall, average precision of each query, losses of a training."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lookalike.errors import LookalikeError, replacing

FloatRow = NDArray[np.float64]

# Okabe and Ito's colors; lines differ in style and marker as well.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_MARKERS = ("o", "s", "^", "D")
_GAIN, _LOSS, _SAME = "#0072B2", "#D55E00", "#6B6F76"
_NAMED = 120  # most queries that have a column each


@dataclass(frozen=True, eq=False)
class Curve:
    """A precision-recall curve; all curves of a plot have the same recalls."""

    name: str  # "easy", "medium", ...; curves of one name share a color
    precision: FloatRow  # (R,) in [0, 1]
    is_before: bool = False  # drawn thin and dashed


def precision_recall_plot(recall: FloatRow, curves: Sequence[Curve], *, title: str) -> Figure:
    """Plot precision over recall (R,), both in [0, 1]; dashed before, solid after re-ranking."""
    drawing, axes = _axes(7.0, 5.2)
    names = list(dict.fromkeys(curve.name for curve in curves))
    both = any(curve.is_before for curve in curves) and not all(curve.is_before for curve in curves)
    for curve in curves:
        position = names.index(curve.name) % len(_COLORS)
        label = f"{curve.name} {'before' if curve.is_before else 'after'}" if both else curve.name
        axes.plot(
            recall, curve.precision, label=label.strip(), color=_COLORS[position],
            linestyle="--" if curve.is_before else "-", linewidth=1.4 if curve.is_before else 2.2,
            marker=_MARKERS[position], markevery=max(1, len(recall) // 10), markersize=5,
            markerfacecolor="white" if curve.is_before else _COLORS[position],
        )  # fmt: skip
    axes.set(
        xlim=(0, 1),
        ylim=(0, 1.02),
        xlabel="recall",
        ylabel="precision (interpolated, mean)",
        title=_wrapped(title),
    )
    if len(curves) > 1:
        axes.legend(frameon=False)
    return drawing


def average_precision_plot(
    names: Sequence[str], after: FloatRow, before: FloatRow | None, *, title: str
) -> Figure:
    """Plot the average precision (Q,) in [0, 1] of each query, ordered by its first value; NaN is left out.

    Up to 120 queries have a column each, with an arrowhead from before to after; more are a scatter plot
    of after over before.
    """
    first = after if before is None else before
    order = [i for i in np.argsort(-first, kind="stable") if not np.isnan(first[i])]
    if before is not None and len(order) > _NAMED:
        return _cloud(before[order], after[order], title)
    drawing, axes = _axes(max(7.0, 0.16 * len(order) + 1.5), 5.2)
    columns = np.arange(len(order))
    if before is not None:
        _arrows(axes, columns, before[order], after[order])
    else:
        axes.plot(columns, after[order], "o", color=_GAIN, label="average precision")
    axes.set_xticks(columns, [names[i] for i in order], rotation=90, fontsize=7)
    axes.set(xlim=(-0.8, len(order) - 0.2), ylim=(0, 1.02), ylabel="average precision", title=_wrapped(title))
    axes.legend(frameon=False, loc="lower left")
    return drawing


def loss_plot(steps: FloatRow, losses: Mapping[str, FloatRow], *, title: str) -> Figure:
    """Plot losses (S,) by name over steps (S,), on a logarithmic scale if all are positive."""
    drawing, axes = _axes(7.0, 4.2)
    for position, (name, values) in enumerate(losses.items()):
        axes.plot(
            steps, values, label=name, color=_COLORS[position % len(_COLORS)], linewidth=1.6,
            linestyle="-" if position < len(_COLORS) else "--",
        )  # fmt: skip
    if all((values > 0).all() for values in losses.values()):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("{x:g}")
    axes.set(xlabel="step", ylabel="loss", title=_wrapped(title))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return drawing


def save_plot(drawing: Figure, path: Path) -> Path:
    """Write a plot and return its path. Raises LookalikeError if that is not possible."""
    try:
        with replacing(path, make_folder=True) as file:
            drawing.savefig(file, dpi=150)
    except ValueError as error:  # an ending that matplotlib does not know
        raise LookalikeError(f"{path} can't be written: {error}; choose another place") from error
    return path


def _arrows(axes: Any, columns: NDArray[np.intp], before: FloatRow, after: FloatRow) -> None:
    gain, loss = after > before, after < before
    same = ~gain & ~loss
    axes.vlines(columns, before, after, color="#B8BCC4", linewidth=1.6, zorder=1)
    axes.plot(columns, before, "o", color=_SAME, markerfacecolor="white", markersize=5, label="before")
    for chosen, marker, color, word in ((gain, "^", _GAIN, "gain"), (loss, "v", _LOSS, "lose")):
        label = f"{int(chosen.sum())} {word}"
        axes.plot(columns[chosen], after[chosen], marker, color=color, markersize=6.5, label=label)
    if same.any():
        axes.plot(columns[same], after[same], ".", color=_SAME, label=f"{int(same.sum())} stay")


def _cloud(before: FloatRow, after: FloatRow, title: str) -> Figure:
    drawing, axes = _axes(6.0, 6.0)
    axes.plot([0, 1], [0, 1], color="#B8BCC4", linewidth=1)
    for chosen, marker, color, word in (
        (after > before, "^", _GAIN, "gain"),
        (after < before, "v", _LOSS, "lose"),
        (after == before, ".", _SAME, "stay"),
    ):
        label = f"{int(chosen.sum())} {word}"
        axes.plot(before[chosen], after[chosen], marker, color=color, alpha=0.5, markersize=4, label=label)
    axes.set(
        xlim=(0, 1.02), ylim=(0, 1.02), xlabel="average precision before",
        ylabel="average precision after", title=_wrapped(title), aspect="equal",
    )  # fmt: skip
    axes.legend(frameon=False, loc="lower right", title=f"{len(before):,} queries")
    return drawing


def _wrapped(title: str) -> str:
    return textwrap.fill(title, 64)


def _axes(width: float, height: float) -> tuple[Figure, Any]:
    drawing = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(drawing)
    axes = drawing.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#E4E6EA", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.title.set_fontsize(10)
    return drawing, axes
