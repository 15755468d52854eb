"""Training curve as an SVG, from the logs of a run.

    uv run python -m recipes.distil.curve runs/mini/blocks/log.jsonl runs/mini/log.jsonl curve.svg

Left, the blocks: fraction of the variance of the teacher's outputs that the student's blocks up to this one
miss on the held-out classes. Right, the second part: distance from the teacher on augmented pictures
(1 - cosine), and on the held-out classes Recall@1 of the averaged student and its cosine with the teacher.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 1040, 360, 50, 20, 20, 62
MIDDLE, GAP = 420, 50  # where the left panel ends, and the space between the two
LINES = (  # key of the log, label, color
    ("cosine", "training: 1 - cosine with the teacher", "#c2410c"),
    ("val_cosine", "held-out classes: cosine with the teacher", "#0f766e"),
    ("val_recall_at_1", "held-out classes: Recall@1", "#1d4ed8"),
)

Row = dict[str, float]


def read_log(path: Path, key: str) -> list[Row]:
    """Rows by step or block. Where a resumed run repeated one, the later row counts."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return list({row[key]: row for row in rows}.values())


def svg(blocks: Sequence[Row], steps: Sequence[Row]) -> str:
    """SVG of two panels, each with an axis from 0 to 1."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        *_axis(LEFT, MIDDLE, "blocks, one after the other: variance missed"),
        *_bars(blocks),
        *_axis(MIDDLE + GAP, WIDTH - RIGHT, "the whole: step"),
        *_curves(steps),
    ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _axis(left: int, right: int, label: str) -> list[str]:
    parts = [_text((left + right) // 2, _y(0) + 52, label)]
    for tenth in range(0, 11, 2):
        y = _y(tenth / 10)
        parts.append(f'<path d="M{left} {y}H{right}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{tenth / 10:.1f}</text>')
    return parts


def _bars(blocks: Sequence[Row]) -> list[str]:
    step = (MIDDLE - LEFT) / len(blocks)
    parts = []
    for i, row in enumerate(blocks):
        x, y = LEFT + i * step, _y(row["error"])
        size = f'width="{step - 4:.1f}" height="{_y(0) - y:.1f}"'
        parts.append(f'<rect x="{x + 2:.1f}" y="{y:.1f}" {size} fill="#0f766e"/>')
        parts.append(
            f'<text transform="translate({x + step / 2 + 4:.1f} {_y(0) + 6}) rotate(-90)" '
            f'text-anchor="end">{row["block"]}</text>'
        )
    return parts


def _curves(rows: Sequence[Row]) -> list[str]:
    last, left, right = rows[-1]["step"], MIDDLE + GAP, WIDTH - RIGHT
    x: Callable[[float], float] = lambda step: left + (right - left) * step / last  # noqa: E731
    parts = [_text(x(last * quarter / 4), _y(0) + 18, f"{last * quarter / 4:.0f}") for quarter in range(5)]
    for i, (key, label, color) in enumerate(LINES):
        points = " ".join(f"{x(row['step']):.1f},{_y(row[key]):.1f}" for row in rows if key in row)
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{WIDTH - 300}" y="{_y(0.55) + 18 * i}" fill="{color}">{label}</text>')
    return parts


def _text(x: float, y: float, words: str) -> str:
    return f'<text x="{x:.0f}" y="{y}" text-anchor="middle">{words}</text>'


def _y(value: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(max(value, 0.0), 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("blocks", type=Path)
    parser.add_argument("log", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    blocks, steps = read_log(arguments.blocks, "block"), read_log(arguments.log, "step")
    arguments.picture.write_text(svg(blocks, sorted(steps, key=lambda row: row["step"])))


if __name__ == "__main__":
    main()
