"""The training curve as an SVG, from the log of a run.

    uv run python recipes/mini/curve.py runs/mini/log.jsonl recipes/mini/curve.svg

Falling: how far the student is from the teacher on the augmented pictures (1 - cosine). Rising:
Recall@1 of the averaged student on the held-out classes, and its cosine with the teacher there.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 360, 50, 20, 20, 50
LINES = (  # key of the log, label, colour
    ("cosine", "training: 1 - cosine with the teacher", "#c2410c"),
    ("val_cosine", "held-out classes: cosine with the teacher", "#0f766e"),
    ("val_recall_at_1", "held-out classes: Recall@1", "#1d4ed8"),
)


def read_log(path: Path) -> list[dict[str, float]]:
    """Rows by step; of a step that a resumed run repeated, the later row."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [row for _, row in sorted({row["step"]: row for row in rows}.items())]


def svg(rows: Sequence[dict[str, float]]) -> str:
    """All lines on one axis from 0 to 1 over the steps."""
    last = rows[-1]["step"]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tenth in range(0, 11, 2):
        y = _y(tenth / 10)
        parts.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4}" text-anchor="end">{tenth / 10:.1f}</text>')
    for quarter in range(5):
        step = last * quarter / 4
        parts.append(f'<text x="{_x(step, last)}" y="{_y(0) + 18}" text-anchor="middle">{step:.0f}</text>')
    parts.append(f'<text x="{WIDTH // 2}" y="{_y(0) + 38}" text-anchor="middle">step</text>')
    for place, (key, label, colour) in enumerate(LINES):
        points = [(_x(row["step"], last), _y(row[key])) for row in rows if key in row]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{drawn}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<text x="{WIDTH - 300}" y="{_y(0.62) + 18 * place}" fill="{colour}">{label}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _x(step: float, last: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * step / last


def _y(value: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(max(value, 0.0), 1.0))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("log", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    arguments.picture.write_text(svg(read_log(arguments.log)))
