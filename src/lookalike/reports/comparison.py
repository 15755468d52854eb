"""Report of a comparison of two models: one HTML file with metrics, and pairs under the maps of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lookalike import render
from lookalike.evaluation.comparison import Case, Comparison, ExplainedHit
from lookalike.reports.evaluation import file_thumbnail, made_by
from lookalike.reports.page import data_uri, page
from lookalike.types import Explanation

_SIDE = 260  # pixels of the longer side of an image
_SIGNIFICANT = 0.05
_COLORS = ("#8f959e", "#d98a3d", "#4b87c5", "#d4d6da")  # both, first, second, neither


def comparison_report(found: Comparison) -> str:
    """Return the report as HTML; without maps if the embeddings came without models."""
    groups = [
        {
            "title": f"{name} is right, {other} is not",
            "cases": [_case(case, found, other) for case in found.cases if case.right == name],
        }
        for name, other in ((found.first, found.second), (found.second, found.first))
    ]
    return page(
        "comparison.html",
        title=f"{found.first} and {found.second} on {found.source}",
        summary=verdict(found),
        first=found.first,
        second=found.second,
        metrics=_metrics(found),
        outcomes=_outcomes(found),
        lists=_lists(found),
        n_pairs=found.n_pairs,
        maps=_maps(found),
        faithfulness=_faithfulness(found),
        groups=[group for group in groups if group["cases"]],
        rules=found.rules,
        made=made_by(),
    )


def verdict(found: Comparison) -> str:
    """The first metric in a sentence: which model is ahead, and whether significantly."""
    first = found.metrics[0]
    better, other = (found.second, found.first) if first.difference > 0 else (found.first, found.second)
    values = f"{first.title} is {first.first:.1%} for {found.first} and {first.second:.1%} for "
    values += f"{found.second} over {found.n_queries:,} queries"
    if first.p_value > _SIGNIFICANT:
        return f"{values}: the difference is not significant (p = {_p(first.p_value)})."
    return f"{values}: {better} is significantly better than {other} (p = {_p(first.p_value)})."


def _p(value: float) -> str:
    return f"{value:z.4f}" if value >= 0.0002 else "0.0001 or less"


def _metrics(found: Comparison) -> list[dict[str, str]]:
    return [
        {
            "name": each.title,
            "first": f"{each.first:.1%}",
            "second": f"{each.second:.1%}",
            "difference": f"{100 * each.difference:+z.1f}",
            "interval": f"{100 * each.low:+z.1f} to {100 * each.high:+z.1f}",
            "p": _p(each.p_value),
        }
        for each in found.metrics
    ]


def _outcomes(found: Comparison) -> list[dict[str, object]]:
    counts = found.outcomes
    parts = (
        ("both", counts.both),
        (f"only {found.first}", counts.only_first),
        (f"only {found.second}", counts.only_second),
        ("neither", counts.neither),
    )
    return [
        {
            "name": name,
            "count": f"{count:,}",
            "share": f"{count / found.n_queries:.1%}",
            "percent": round(100 * count / found.n_queries, 2),
            "color": color,
        }
        for (name, count), color in zip(parts, _COLORS, strict=True)
    ]


def _lists(found: Comparison) -> list[tuple[str, str]]:
    lists = found.lists
    rows = [
        (f"Jaccard index of the first {k}" if k > 1 else "same first hit", f"{v:z.2f}")
        for k, v in lists.jaccard
    ]
    overlap = f"rank-biased overlap, p = {lists.persistence}, {lists.depth} ranks"
    return [*rows, (overlap, f"{lists.rank_biased_overlap:z.2f}")]


def _maps(found: Comparison) -> list[dict[str, str]]:
    return [
        {
            "first": each.first,
            "second": each.second,
            "correlation": f"{each.correlation:z.2f}",
            "chance": f"{each.correlation_by_chance:z.2f}",
            "interval": f"{each.correlation_low:z.2f} to {each.correlation_high:z.2f}",
            "mass": f"{each.shared_mass:z.2f}",
            "mass_chance": f"{each.shared_mass_by_chance:z.2f}",
        }
        for each in found.maps
    ]


def _faithfulness(found: Comparison) -> list[dict[str, str]]:
    return [
        {
            "name": f"{each.model}, {each.method}",
            "gain": f"{each.gain:+z.3f}",
            "interval": f"{each.low:+z.3f} to {each.high:+z.3f}",
            "drop": f"{each.mean_drop:z.2f}",
        }
        for each in found.faithfulness
    ]


def _case(case: Case, found: Comparison, other: str) -> dict[str, object]:
    files = (case.path, case.match.path, case.path, case.mistaken.path)
    sides = (
        (found.first, case.match.first, case.mistaken.first),
        (found.second, case.match.second, case.mistaken.second),
    )
    return {
        "label": case.label,
        "other": other,
        "rank": f"{case.rank_of_other:,}",
        "match": _caption(case.match),
        "mistaken": _caption(case.mistaken),
        "photos": [file_thumbnail(Path(file), _SIDE) or "" for file in files],
        "ways": [
            _maps_row(model, right, wrong)
            for model, matches, mistakes in sides
            for right, wrong in zip(matches, mistakes, strict=True)
        ],
    }


def _caption(hit: ExplainedHit) -> str:
    return f"{hit.label}, {Path(hit.path).name}"


def _maps_row(model: str, right: Explanation, wrong: Explanation) -> dict[str, object]:
    """One model's maps of both pairs by one method, in one color range."""
    both = (right, wrong)
    return {
        "model": model,
        "method": right.method,
        "similarities": f"{right.similarity:z.3f} and {wrong.similarity:z.3f}",
        "pictures": [picture for each in both for picture in _overlays(each, both)],
    }


def _overlays(explanation: Explanation, among: Sequence[Explanation]) -> list[str]:
    return [
        data_uri(overlay(explanation, among=among, max_side=_SIDE))
        for overlay in (render.query_overlay, render.match_overlay)
    ]
