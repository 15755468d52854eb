"""Report of an evaluation: one HTML file with metrics and images of the worst classes."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

from lookalike import __version__, images
from lookalike.errors import UnreadableImageError
from lookalike.evaluation import ClassMetrics, Evaluation, Retrieved
from lookalike.reports.page import data_uri, page, thumbnail

_SIDE = 180  # pixels of the longer side of a thumbnail
_N_CLASSES, _N_QUERIES, _N_HITS = 8, 2, 5  # shown with images
_N_ROWS = 25  # classes in the table


def evaluation_report(evaluation: Evaluation) -> str:
    """Return the report as HTML; without images if the embeddings came without files."""
    model = f" with {evaluation.model}" if evaluation.model else ""
    first, n_images = evaluation.metrics[0], evaluation.n_gallery
    return page(
        "evaluation.html",
        title=f"Retrieval on {evaluation.source}{model}",
        summary=f"{first.title} is {first.value:.1%} ({first.low:.1%} to {first.high:.1%}): "
        f"{evaluation.n_queries:,} queries, {n_images:,} images, {evaluation.n_classes:,} classes.",
        metrics=_metrics(evaluation),
        classes=[_class_row(each) for each in evaluation.classes[:_N_ROWS]],
        n_more=max(0, len(evaluation.classes) - _N_ROWS),
        worst=_worst(evaluation.classes[:_N_CLASSES], evaluation.retrieved),
        n_hits=_N_HITS,
        left_out=evaluation.left_out,
        rules=evaluation.rules,
        made=made_by(),
    )


def made_by() -> str:
    """A line that says when a report was made, and by which version."""
    return f"Made {datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z} with lookalike {__version__}."


def file_thumbnail(path: Path, side: int = _SIDE) -> str | None:
    """A thumbnail of an image file as a data URI; None if it can't be read any more."""
    try:
        return data_uri(thumbnail(images.load(path, at_least=(side, side)).image, side))
    except UnreadableImageError:
        return None


def _metrics(evaluation: Evaluation) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [
        {
            "name": each.title,
            "value": f"{each.value:.1%}",
            "interval": f"{each.low:.1%} to {each.high:.1%}",
            "low": round(100 * each.low, 2),
            "width": round(100 * (each.high - each.low), 2),
            "at": round(100 * each.value, 2),
        }
        for each in evaluation.metrics
    ]
    if evaluation.clusters is not None:
        found = evaluation.clusters
        agreement = (("NMI", found.nmi), ("AMI", found.ami), ("F1", found.f1))
        rows += [{"name": name, "value": f"{value:.1%}", "interval": ""} for name, value in agreement]
    return rows


def _class_row(metrics: ClassMetrics) -> dict[str, object]:
    confused = f"{metrics.confused_with} ({metrics.n_confused} of {metrics.n_queries})"
    return {
        "label": metrics.label,
        "n_queries": metrics.n_queries,
        "recall": f"{metrics.recall_at_1:.0%}",
        "map_at_r": f"{metrics.map_at_r:.0%}",
        "confused": confused if metrics.confused_with else "",
    }


def _worst(classes: Sequence[ClassMetrics], retrieved: Retrieved) -> list[dict[str, object]]:
    """The classes, with images of the queries that find their class last."""
    paths = retrieved.queries.paths
    if paths is None or retrieved.gallery.paths is None:
        return []
    labels = [retrieved.queries.labels[row] for row in retrieved.asked.tolist()]
    last_first = retrieved.first_ranks.argsort(descending=True, stable=True).tolist()
    shown = []
    for metrics in classes:
        members = [i for i in last_first if labels[i] == metrics.label][:_N_QUERIES]
        queries = [query for i in members if (query := _query(i, retrieved, paths)) is not None]
        shown.append({**_class_row(metrics), "queries": queries})
    return shown


def _query(i: int, retrieved: Retrieved, paths: Sequence[Path]) -> dict[str, object] | None:
    """One query and its first hits; None if its file is gone."""
    path, gallery = paths[int(retrieved.asked[i])], retrieved.gallery
    picture = file_thumbnail(path)
    if picture is None or gallery.paths is None:
        return None
    is_right = retrieved.is_right()[i]
    hits = [
        {
            "photo": file_thumbnail(gallery.paths[row]) or "",
            "right": bool(is_right[position]),
            "similarity": f"{float(retrieved.similarities[i, position]):z.3f}",
            "label": gallery.labels[row],
        }
        for position, row in enumerate(retrieved.nearest[i, :_N_HITS].tolist())
    ]
    return {"photo": picture, "name": path.name, "rank": f"{int(retrieved.first_ranks[i]):,}", "hits": hits}
