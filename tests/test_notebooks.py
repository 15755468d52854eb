"""The notebooks of examples/ run from top to bottom, offline, and show pictures."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
PAGE = (EXAMPLES.parent / "docs" / "notebooks.md").read_text(encoding="utf-8")


def pictures_in(book):
    """Number of pictures that the cells show, as PNG or inside HTML."""
    shown = [output.get("data", {}) for cell in book.cells for output in cell.get("outputs", ())]
    return sum(("image/png" in data) + data.get("text/html", "").count("<img ") for data in shown)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_runs_and_shows_pictures(file, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    work = tmp_path / "work"
    work.mkdir()
    book = nbformat.read(file, as_version=4)
    NotebookClient(book, timeout=600, resources={"metadata": {"path": str(work)}}).execute()
    assert pictures_in(book) > 0
    nbformat.write(book, tmp_path / file.name)


def test_notebooks_are_kept_without_outputs():
    for file in NOTEBOOKS:
        book = nbformat.read(file, as_version=4)
        nbformat.validate(book)
        assert not any(cell.get("outputs") for cell in book.cells), file.name
        assert file.stat().st_size < 30_000


def test_the_page_lists_every_notebook():
    assert len(NOTEBOOKS) == 7
    assert all(f"(../examples/{file.name})" in PAGE for file in NOTEBOOKS)
