"""``--out``: the same rows as CSV and as Parquet, from every command that writes a list."""

import csv

import numpy as np
import pyarrow.parquet as parquet
import pytest
from pyarrow import feather
from typer.testing import CliRunner

from lookalike import scenes
from lookalike.cli import app
from lookalike.gallery import Gallery


@pytest.fixture(scope="module")
def walls(mini, tmp_path_factory):
    """A folder of three pictures, one of them twice, and the gallery with their codes and years."""
    folder = tmp_path_factory.mktemp("walls")
    for i in range(3):
        scenes.paint(i, 96).save(folder / f"wall{i}.png")
    (folder / "twin.png").write_bytes((folder / "wall0.png").read_bytes())
    gallery = Gallery.create(tmp_path_factory.mktemp("galleries") / "walls.gallery", mini)
    gallery.add(folder, metadata=lambda path: {"code": "007", "year": 1990 + len(path.stem)})
    return folder, gallery.uri


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_hits_of_each_query_keep_their_types_in_parquet(walls, tmp_path):
    folder, uri = walls
    table = tmp_path / "each.parquet"
    said = run(
        "search", "--each", folder, "-g", uri, "--out", table, "-k", 2, "--report", tmp_path / "r.html"
    )
    assert f"wrote {table}" in said
    run("search", "--each", folder, "-g", uri, "--out", tmp_path / "each.csv", "-k", 2)
    rows, texts = parquet.read_table(table).to_pylist(), rows_of(tmp_path / "each.csv")
    assert len(rows) == len(texts) == 8
    for row, text in zip(rows, texts, strict=True):
        assert {name: row[name] for name in ("query", "path", "code")} == {
            name: text[name] for name in ("query", "path", "code")
        }
        assert (row["rank"], row["similarity"]) == (int(text["rank"]), float(text["similarity"]))
    assert rows[0]["code"] == "007" and isinstance(rows[0]["year"], int) and rows[0]["probability"] is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["each.csv", "each.parquet", "r.html"]


def test_hits_and_groups_are_rows_of_arrow_files(walls, tmp_path):
    folder, uri = walls
    run("search", folder / "wall1.png", "-g", uri, "-k", 3, "--out", tmp_path / "hits.feather")
    hits = feather.read_table(tmp_path / "hits.feather").to_pylist()
    assert [hit["rank"] for hit in hits] == [1, 2, 3] and hits[0]["metadata.year"] == 1995
    run("groups", "-g", uri, "--kind", "copy", "--out", tmp_path / "g.parquet")
    run("groups", "-g", uri, "--kind", "copy", "--out", tmp_path / "g.csv")
    groups, texts = parquet.read_table(tmp_path / "g.parquet").to_pylist(), rows_of(tmp_path / "g.csv")
    assert [row["path"] for row in groups] == [row["path"] for row in texts]
    assert {row["advice"] for row in groups} == {"keep", "drop"} and groups[0]["similarity"] == 1.0


def test_each_query_of_an_evaluation_is_a_row(tmp_path):
    np.save(tmp_path / "e.npy", np.array([[1, 0], [0.9, 0.1], [0, 1], [0.8, 0.2]], np.float32))
    (tmp_path / "l.txt").write_text("cat\ncat\ndog\ndog\n")
    given = ("evaluate", "--embeddings", tmp_path / "e.npy", "--labels", tmp_path / "l.txt", "-k", 1)
    run(*given, "--no-clustering", "--out", tmp_path / "q.parquet")
    run(*given, "--no-clustering", "--out", tmp_path / "q.csv")
    rows, texts = parquet.read_table(tmp_path / "q.parquet").to_pylist(), rows_of(tmp_path / "q.csv")
    assert [row["query"] for row in rows] == ["0", "1", "2", "3"] == [row["query"] for row in texts]
    assert [row["first_rank"] for row in rows] == [1, 1, 1, 3]
    assert [row["recall_at_1"] for row in rows] == [1.0, 1.0, 1.0, 0.0]
    assert [(row["hit"], row["hit_label"]) for row in rows[2:]] == [("3", "dog"), ("1", "cat")]
    assert [float(row["hit_similarity"]) for row in texts] == [row["hit_similarity"] for row in rows]


def test_a_table_does_not_replace_what_is_read(walls, tmp_path):
    folder, uri = walls
    result = CliRunner().invoke(
        app, ["search", str(folder / "wall1.png"), "-g", uri, "--out", str(folder / "wall1.png")]
    )
    assert result.exit_code == 1 and "would be replaced" in result.output
