"""``lookalike map`` writes what it prints."""

import json

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.gallery import Gallery


@pytest.fixture(scope="module")
def uri(mini, tmp_path_factory):
    from lookalike import scenes

    folder = tmp_path_factory.mktemp("paintings")
    for i in range(6):
        scenes.paint(i, 64).save(folder / f"{i}.png")
    made = Gallery.create(folder / "g.gallery", mini)
    made.add(folder, workers=0)
    return made.uri


def run(*arguments):
    return CliRunner().invoke(app, ["map", *map(str, arguments)])


def test_json_parquet_and_csv_hold_the_same_pictures(uri, tmp_path):
    printed = json.loads(run("-g", uri, "--layout", "pca", "--clusters", 2, "--json").stdout)
    assert run("-g", uri, "--layout", "pca", "--out", tmp_path / "m.parquet").exit_code == 0
    assert run("-g", uri, "--layout", "pca", "--out", tmp_path / "m.csv").exit_code == 0
    table = pq.read_table(tmp_path / "m.parquet").to_pylist()
    keys = ("id", "x", "y", "cluster")
    assert [[row[key] for key in keys] for row in table] == [
        [row[key] for key in keys] for row in printed["pictures"]
    ]
    assert len((tmp_path / "m.csv").read_text().splitlines()) == 7 and len(printed["clusters"]) == 2


def test_another_kind_of_file_is_wrong_usage(uri, tmp_path):
    answer = run("-g", uri, "--out", tmp_path / "m.xlsx")
    assert answer.exit_code == 2 and ".parquet or .csv" in answer.stderr


def test_a_page_has_the_pictures_and_keeps_the_number_of_thumbnails(uri, tmp_path):
    file = tmp_path / "m.html"
    answer = run("-g", uri, "--layout", "pca", "--clusters", 0, "--html", file, "--thumbnails", 2)
    assert answer.exit_code == 0 and f"wrote {file}" in answer.stdout
    page = file.read_text("utf-8")
    assert page.count("data:image/webp;base64,") == 2
    assert all(page.count(f'"{i}.png"') == 1 for i in range(6))
