"""How far our numbers are from those of the five sources, feature by feature, as a table.

    uv run python benchmarks/parity.py [--write docs/parity.md]

Each row runs a public command where there is one, or else the public Python API, and states the largest
error relative to the largest value of the reference: a golden that the original code computed, an oracle
library, or the network and formula written down in ``naive.py`` where no golden has such sizes. A line
of the tables in docs/moves.md is listed with the test that runs it, and what needs files that could not be
had is named.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from environment import add_shared, describe_run, parser_of
from parity_rows import ROWS, UNAVAILABLE, Setting

MOVES = Path(__file__).parents[1] / "docs" / "moves.md"
HEAD = """# Parity with the sources

Made by `benchmarks/parity.py --write docs/parity.md`: {run}

Error: the largest difference, relative to the largest value of the reference. Golden: numbers that the
original code computed (`tests/goldens`, and weights that are not in the repository). Written down: the
network or formula step by step (`benchmarks/naive.py`) with random weights of sizes that no golden has. Every
line of the tables in [moves.md](moves.md) has a row here.

| source | feature | ours | against | largest relative error | command |
|---|---|---|---|---|---|
"""


def lines_of_moves() -> list[tuple[str, str, str]]:
    """Source, theirs and ours of each line of the tables in docs/moves.md."""
    found = []
    for title, text in re.findall(
        r"^## (.+?)\n(.*?)(?=^## |\Z)", MOVES.read_text(), re.DOTALL | re.MULTILINE
    ):
        lines = re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.MULTILINE)
        found += [(title, theirs, ours) for theirs, ours in lines if theirs != "theirs"]
    return found


def table(setting: Setting) -> str:
    lines = []
    for row in ROWS:
        error = row.measure(setting)
        lines.append(
            f"| {row.source} | {row.feature} | {row.ours} | {row.against} | {error:.0e} | {row.command} |"
        )
        print(lines[-1], flush=True)
    for title, theirs, ours in lines_of_moves():
        lines.append(f"| {title} | {theirs} | {ours} | runs, no number | - | `tests/test_moves.py` |")
    for source, feature, why in UNAVAILABLE:
        lines.append(f"| {source} | {feature} | - | {why} | missing | - |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = parser_of(__doc__)
    add_shared(parser)
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="write the page instead of printing it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        page = HEAD.format(run=describe_run()) + table(Setting(arguments.shared, Path(folder)))
    if arguments.write is None:
        print(page)
    else:
        arguments.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
