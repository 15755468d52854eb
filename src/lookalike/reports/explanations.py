"""Report of the leaderboard of maps: one HTML file with tables, curves and pairs under every method."""

from __future__ import annotations

from collections.abc import Sequence

from lookalike import render
from lookalike.evaluation.explanations import (
    CONTROLS,
    MEASURES,
    ExplainedExample,
    ExplanationScores,
    best_rows,
    families,
    measure_of,
)
from lookalike.reports.evaluation import made_by
from lookalike.reports.page import data_uri, page, thumbnail

_SIDE = 150  # pixels of the longer side of an image
_PLOT = (240, 150)  # width and height of a plot, in units of its own
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8f959e", "#7a5195")
_SIGNIFICANT = 0.05
_DASHES = ("", "6 3", "2 2")  # after all colors are taken


def leaderboard_report(scores: ExplanationScores) -> str:
    """Return the report as HTML."""
    return page(
        "explanations.html",
        title="Are the maps true?",
        summary=_summary(scores),
        models=[_model(scores, model) for model in scores.models],
        refusals=scores.refusals,
        rules=_rules(scores),
        made=made_by(),
    )


def _summary(scores: ExplanationScores) -> str:
    n_methods = len({row.method for row in scores.rows})
    return (
        f"Methods: {n_methods:,}. Models: {len(scores.models):,}. Pairs of images: "
        f"{scores.settings['n_pairs']:,}. All are measured alike."
    )


def _model(scores: ExplanationScores, model: str) -> dict[str, object]:
    methods = scores.methods(model)
    examples = [example for example in scores.examples if example.explanation.model == model]
    keys = list(dict.fromkeys(example.key for example in examples))
    return {
        "name": model,
        "tables": [_table(scores, model, family, names) for family, names in families(scores, model)],
        "legend": [{"name": method, **_style(i)} for i, method in enumerate(methods)],
        "plots": _plots(scores, model, methods),
        "differences": _differences(scores, model),
        "reference": scores.settings["reference"],
        "pairs": [_pair([example for example in examples if example.key == key]) for key in keys],
    }


def _table(scores: ExplanationScores, model: str, family: str, measures: Sequence[str]) -> dict[str, object]:
    best = best_rows(scores)
    rows = []
    for method in scores.methods(model):
        cells = []
        for measure in measures:
            row = scores.row(model, method, measure)
            cells.append(
                {"value": "", "interval": "", "best": False}
                if row is None
                else {
                    "value": f"{row.value:.3g}",
                    "interval": f"{row.low:.3g} to {row.high:.3g}, {_counted(row.pairs)}",
                    "best": row in best,
                }
            )
        rows.append({"method": method, "control": method in CONTROLS, "cells": cells})
    columns = [
        {
            "name": name,
            "title": MEASURES[measure_of(name)].title,
            "arrow": "↑" if MEASURES[measure_of(name)].is_higher_better else "↓",
        }
        for name in measures
    ]
    return {"family": family, "columns": columns, "rows": rows}


def _differences(scores: ExplanationScores, model: str) -> list[dict[str, str]]:
    """Of faithfulness and truth from the reference method, only the significant ones."""
    return [
        {
            "method": each.method,
            "measure": each.measure,
            "value": f"{each.value:+z.3f}",
            "interval": f"{each.low:+z.3f} to {each.high:+z.3f}",
            "p": f"{each.p_value:z.4f}",
            "pairs": f"{each.pairs:,}",
        }
        for each in scores.differences
        if each.model == model
        and MEASURES[measure_of(each.measure)].family in ("faithfulness", "truth")
        and each.p_value <= _SIGNIFICANT
    ]


# --- curves ---------------------------------------------------------------------------------------


def _plots(scores: ExplanationScores, model: str, methods: Sequence[str]) -> list[dict[str, object]]:
    """Insertion and deletion of each kind of hiding."""
    found: list[dict[str, object]] = []
    curves = [curve for curve in scores.curves if curve.model == model]
    for measure in dict.fromkeys(curve.measure for curve in curves):
        for kind in ("insertion", "deletion"):
            lines = [
                {"points": _points(getattr(curve, kind)), **_style(methods.index(curve.method))}
                for curve in curves
                if curve.measure == measure
            ]
            found.append({"title": f"{measure.removeprefix('aid-')}, {kind}", "lines": lines})
    return found


def _points(values: Sequence[float]) -> str:
    """Points of an SVG polyline; similarities from -0.2 to 1.2 fill the height."""
    width, height = _PLOT
    return " ".join(
        f"{width * i / (len(values) - 1):z.1f},{height * (1.2 - min(max(value, -0.2), 1.2)) / 1.4:z.1f}"
        for i, value in enumerate(values)
    )


def _style(position: int) -> dict[str, str]:
    dash = _DASHES[position // len(_COLORS) % len(_DASHES)]
    return {"color": _COLORS[position % len(_COLORS)], "dash": dash}


def _counted(n: int) -> str:
    return f"{n:,} pair" if n == 1 else f"{n:,} pairs"


# --- pairs ----------------------------------------------------------------------------------------


def _pair(examples: Sequence[ExplainedExample]) -> dict[str, object]:
    first = examples[0].explanation
    photos = [first.query.picture.image, first.match.picture.image]
    return {
        "key": examples[0].key,
        "similarity": f"{first.similarity:z.3f}",
        "photos": [data_uri(thumbnail(photo, _SIDE)) for photo in photos],
        "methods": [
            {
                "name": example.method,
                "pictures": [
                    data_uri(draw(example.explanation, max_side=_SIDE))
                    for draw in (render.query_overlay, render.match_overlay)
                ],
            }
            for example in examples
        ],
    }


def _rules(scores: ExplanationScores) -> list[str]:
    return [
        "Values are means over pairs with 95% bootstrap intervals over pairs; differences are paired, with "
        f"two-sided sign-flip tests, seed {scores.settings['seed']}, not corrected for their number. "
        "Intervals hold for other pairs of these data, not for other data.",
        f"Hiding: on the pixels that the network sees, in {scores.settings['steps']} steps; the similarity "
        "is scaled to 1 for the whole image and 0 for the hidden one, and pairs that lose less than 0.1 when "
        "all is hidden are left out. Means over hiding the query and the match, except for aid-both.",
        "All maps of one model are compared on one grid; maps of different methods have color ranges of "
        "their own: attributions one for both images, heat maps from lowest to highest value.",
    ]
