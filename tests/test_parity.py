"""docs/parity.md has a row for every feature: what is measured, and every line of docs/moves.md."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
CELLS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")][1:]


@pytest.fixture(scope="module")
def script():
    """benchmarks/parity.py and its rows, as modules."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import parity
        import parity_rows
    except ImportError as error:
        pytest.skip(f"the script needs more than the package: {error}")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return parity, parity_rows


def test_every_row_of_the_script_has_been_measured_and_is_small(script):
    _, rows = script
    measured = {(cells[0], cells[1]): cells[4] for cells in CELLS}
    for row in rows.ROWS:
        assert float(measured[row.source, row.feature]) <= 1e-4, row.feature


def test_every_line_of_the_moves_has_a_row(script):
    parity, _ = script
    lines = parity.lines_of_moves()
    assert len(lines) > 35 and len({title for title, *_ in lines}) == 5
    listed = {tuple(cells[:3]) for cells in CELLS}
    assert not [line for line in lines if line not in listed]


def test_what_is_missing_is_named_with_the_reason(script):
    _, rows = script
    missing = [cells for cells in CELLS if cells[4] == "missing"]
    assert [(c[0], c[1], c[3]) for c in missing] == rows.UNAVAILABLE


def test_the_page_says_when_where_and_of_which_commit_it_was_made():
    assert re.search(r"\d{4}-\d\d-\d\d · .+ cores, .+ threads · Python .+ · commit [0-9a-f]{7}", PAGE)
