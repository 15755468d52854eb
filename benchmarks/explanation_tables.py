"""Tables of benchmarks/explanations.py as Markdown, from the folder of a run alone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from explanation_models import MODELS

from lookalike.evaluation.explanations import (
    CONTROLS,
    MEASURES,
    ExplanationRow,
    ExplanationScores,
    Refusal,
    best_rows,
    families,
    measure_of,
)

MARKS = ("<!-- table -->", "<!-- end of table -->")
LEADING = {
    "faithfulness": "aid-blur",
    "sums": "residual",
    "truth": "mask-auc",
    "stability": "sensitivity",
    "cost": "cost-pair",
}


@dataclass(frozen=True)
class Board:
    """The rows of one model."""

    name: str
    scores: ExplanationScores
    best: set[ExplanationRow]

    def methods(self, measures: list[str]) -> list[str]:
        """Methods that have a row of some of the measures."""
        return [
            method
            for method in self.scores.methods(self.name)
            if any(self.scores.row(self.name, method, measure) for measure in measures)
        ]


def tables_of(run: Path, half: str) -> str:
    """By family: a leading measure of all models in one table, then every measure of each model."""
    files = [file for name in MODELS if (file := run / name / f"{half}.json").exists()]
    if not files:
        raise SystemExit(f"{run} holds no rows of {half!r}; measure first")
    found = [json.loads(file.read_text()) for file in files]
    boards = [_board(each) for each in found]
    parts = [_origin(found, half)]
    for family, leading in LEADING.items():
        first, rest = _leading(boards, leading), [_details(board, family) for board in boards]
        parts += [f"### {family.capitalize()}"] * bool(first or any(rest))
        parts += [f"`{leading}` on every model:", first] * bool(first)
        parts += rest
    refusals = {(each.method, _short(each.reason)) for board in boards for each in board.scores.refusals}
    if refusals:
        parts.append("A method that has no row for a model refused it:")
        parts.append("\n".join(f"- `{method}`: {reason}" for method, reason in sorted(refusals)))
    return "\n\n".join(part for part in parts if part)


def write_between_marks(page: Path, text: str) -> None:
    """Put a text between the two marks of a page, in place of what was there."""
    begin, end = MARKS
    before, found, rest = page.read_text().partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise SystemExit(f"{page} should hold {begin} and {end}, where the tables go")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def _origin(found: list[dict], half: str) -> str:
    which = "both halves" if half == "all" else f"the half `{half}`"
    pairs = sorted({each["settings"]["n_pairs"] for each in found})
    lines = list(dict.fromkeys(each["made"] for each in found))
    return "\n\n".join([f"{' or '.join(map(str, pairs))} pairs, {which}. {line}" for line in lines])


def _board(found: dict) -> Board:
    rows = tuple(ExplanationRow(**{**row, "model": found["name"]}) for row in found["rows"])
    refusals = tuple(Refusal(**refusal) for refusal in found["refusals"])
    scores = ExplanationScores(rows, refusals, (), (), (), found["settings"])
    return Board(found["name"], scores, best_rows(scores))


def _leading(boards: list[Board], measure: str) -> str:
    """One measure, a column for each model; empty where no model has it."""
    columns = [board for board in boards if board.methods([measure])]
    methods = list(dict.fromkeys(method for board in columns for method in board.methods([measure])))
    rows = [[_method(name), *(_cell(board, name, measure) for board in columns)] for name in methods]
    head = [f"{measure} {_arrow(measure)}", *(board.name for board in columns)]
    return _table(head, rows) if columns else ""


def _details(board: Board, family: str) -> str:
    measures = dict(families(board.scores, board.name)).get(family, [])
    if not measures:
        return ""
    rows = [
        [_method(name), *(_cell(board, name, measure) for measure in measures)]
        for name in board.methods(measures)
    ]
    table = _table([board.name, *(f"{measure} {_arrow(measure)}" for measure in measures)], rows)
    return f"<details><summary>{board.name}: {family}</summary>\n\n{table}\n\n</details>"


def _cell(board: Board, method: str, measure: str) -> str:
    """The mean, and half the width of its interval; bold for the best of a model."""
    row = board.scores.row(board.name, method, measure)
    if row is None:
        return ""
    value = f"{row.value:.3g}"
    text = f"**{value}**" if row in board.best else value
    return f"{text} ± {(row.high - row.low) / 2:.2g}" if row.pairs > 1 else text


def _method(name: str) -> str:
    return f"*{name}*" if name in CONTROLS else f"`{name}`"


def _arrow(measure: str) -> str:
    return "↑" if MEASURES[measure_of(measure)].is_higher_better else "↓"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _short(reason: str) -> str:
    return reason.partition(";")[0]
