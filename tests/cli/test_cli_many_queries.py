"""``search --each``: the table, going on after an interruption, bad queries, the report."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lookalike import scenes
from lookalike.cli import app
from lookalike.cli.many_queries import listed_queries
from lookalike.cli.query_table import QueryTable
from lookalike.errors import LookalikeError, UnreadableImageError
from lookalike.gallery import Gallery, folder_labels
from made_rooms import save_rooms


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rooms")
    save_rooms(scenes.gallery_of_rooms(11, n_paintings=3, rooms_per_painting=2, size=(120, 160)), folder)
    return folder


@pytest.fixture(scope="module")
def gallery(rooms, tmp_path_factory, mini):
    uri = tmp_path_factory.mktemp("galleries") / "rooms.gallery"
    labels = folder_labels(rooms)
    opened = Gallery.create(uri, mini)
    opened.add(rooms, metadata=lambda path: {**labels(path), "path": "shelf", "sizes": [1, 2]})
    return uri


def search(*arguments):
    return CliRunner().invoke(app, ["search", *map(str, arguments)])


def rows_of(table):
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def assert_same_rows(found, expected):
    """The same but for the rounding of similarities, which depends on the number of queries in a batch."""
    similarities = [[float(row.pop("similarity")) for row in rows] for rows in (found, expected)]
    assert found == expected
    assert similarities[0] == pytest.approx(similarities[1], abs=1e-6)


def test_the_table_has_the_hits_of_every_query_and_metadata_in_columns(rooms, gallery, tmp_path):
    table = tmp_path / "out.csv"
    result = search("--each", rooms, "-g", gallery, "--csv", table, "-k", 2)
    assert result.exit_code == 0 and "searched 6 of 6 queries" in result.stdout, result.output
    rows = rows_of(table)
    assert list(rows[0]) == [
        "query",
        "rank",
        "path",
        "similarity",
        "probability",
        "label",
        "metadata.path",
        "sizes",
    ]
    assert len(rows) == 12 and [row["rank"] for row in rows[:3]] == ["1", "2", "1"]
    for first in rows[::2]:
        assert first["query"] == first["path"] and float(first["similarity"]) == pytest.approx(1, abs=1e-4)
        assert (first["metadata.path"], first["sizes"], first["probability"]) == ("shelf", "[1, 2]", "")
        assert first["label"] == first["path"].split("/")[-2]
    assert not (tmp_path / "out.csv.progress").exists()


def test_an_interrupted_run_goes_on_and_ends_in_the_same_table(rooms, gallery, tmp_path, monkeypatch):
    whole, table = tmp_path / "whole.csv", tmp_path / "out.csv"
    assert search("--each", rooms, "-g", gallery, "--csv", whole, "-k", 2).exit_code == 0
    add, done = QueryTable.add, []

    def interrupted(self, query, hits):
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(query)
        add(self, query, hits)

    monkeypatch.setattr(QueryTable, "add", interrupted)
    assert search("--each", rooms, "-g", gallery, "--csv", table, "-k", 2).exit_code != 0
    assert len(rows_of(table)) == 6
    with table.open("ab") as file:
        file.write(b"half of a row,1,")  # as a killed process leaves it
    monkeypatch.setattr(QueryTable, "add", add)
    other = search("--each", rooms, "-g", gallery, "--csv", table, "-k", 3)
    assert other.exit_code == 1 and "begun with another k" in other.stderr
    result = search("--each", rooms, "-g", gallery, "--csv", table, "-k", 2, "--json")
    found = json.loads(result.stdout)
    assert (found["searched"], found["continued"]) == (3, 3)
    assert_same_rows(rows_of(table), rows_of(whole))


def test_a_progress_file_cut_off_in_a_line_repeats_that_query(tmp_path):
    first = QueryTable(tmp_path / "t.csv", ["label"], {"k": 1})
    first.add("a.jpg", [])
    first.add("ü\n.jpg", [])
    progress = tmp_path / "t.csv.progress"
    progress.write_text(progress.read_text()[:-5])
    again = QueryTable(tmp_path / "t.csv", ["label"], {"k": 1})
    assert list(again.finished) == ["a.jpg"]
    again.add("ü\n.jpg", [])
    assert [row["query"] for row in rows_of(tmp_path / "t.csv")] == ["a.jpg", "ü\n.jpg"]


def test_a_finished_table_is_begun_anew(tmp_path):
    for settings in ({"k": 1}, {"k": 2}):
        table = QueryTable(tmp_path / "t.csv", [], settings)
        table.add("a.jpg", [])
        table.close()
    assert len(rows_of(tmp_path / "t.csv")) == 1


def test_a_bad_query_is_named_and_the_others_are_in_the_table(rooms, gallery, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    good = sorted(rooms.rglob("*.png"))[0]
    shutil.copy(good, tmp_path / "good.png")
    (tmp_path / "list.txt").write_text(f"bad.jpg\n\n{good}\ngood.png\n{good}\n")
    table, report = tmp_path / "out.csv", tmp_path / "out.html"
    result = search(
        "--each", tmp_path / "list.txt", "-g", gallery, "--csv", table, "-k", 1, "--report", report
    )
    assert result.exit_code == 0 and "searched 2 of 3 queries" in result.stdout
    assert "bad.jpg" in result.stderr
    assert [row["query"] for row in rows_of(table)] == [str(good), str(tmp_path / "good.png")]
    page = report.read_text()
    assert page.count("data:image/webp") == 4 and "bad.jpg" in page


def test_a_query_without_hits_has_a_row_that_says_so(rooms, gallery, tmp_path):
    table = tmp_path / "out.csv"
    search("--each", rooms, "-g", gallery, "--csv", table, "--min-similarity", 1, "--leave-self-out")
    rows = rows_of(table)
    assert len(rows) == 6 and {row["rank"] + row["path"] for row in rows} == {""}


def test_wrong_usage_is_said(rooms, gallery, tmp_path):
    for arguments, words in (
        (("--each", rooms), "add --csv"),
        (("--each", rooms, "--csv", tmp_path / "o.csv", "a.jpg"), "leave IMAGE"),
        ((), "give an image"),
    ):
        result = search("-g", gallery, *arguments)
        assert result.exit_code == 2 and words in " ".join(result.stderr.split()), result.stderr
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", tmp_path / "missing.txt"):
        with pytest.raises(UnreadableImageError):
            listed_queries(source)


def test_a_run_of_nothing_but_bad_queries_is_an_error(gallery, tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    result = search("--each", tmp_path, "-g", gallery, "--csv", tmp_path / "out.csv")
    assert result.exit_code == 1 and "none of the 1 queries" in result.stderr
    with pytest.raises(LookalikeError):
        QueryTable(tmp_path / "bad.jpg" / "out.csv", [], {})


def test_lists_are_read_in_any_encoding_that_says_so(rooms, tmp_path):
    names = sorted(str(path) for path in rooms.rglob("*.png"))[:2]
    for number, encoding in enumerate(("utf-8-sig", "utf-16", "utf-8")):
        source = tmp_path / f"{number}.txt"
        source.write_text("\r\n".join(names) + " \n\n", encoding=encoding, newline="")
        assert listed_queries(source) == names
    with pytest.raises(UnreadableImageError, match="a device"):
        listed_queries(Path("/dev/zero"))


def test_neither_the_list_nor_a_query_is_replaced_by_the_table(rooms, gallery, tmp_path):
    query = tmp_path / "q.png"
    shutil.copy(next(rooms.rglob("*.png")), query)
    source = tmp_path / "list.txt"
    source.write_text("q.png\n")
    for table in (source, query):
        before = table.read_bytes()
        result = search("--each", source, "-g", gallery, "--csv", table)
        assert result.exit_code == 1 and "is read here and would be replaced" in result.stderr
        assert table.read_bytes() == before


@pytest.mark.parametrize(
    "lines",
    [
        b'{"query": [1], "end": 5}',
        b'{"query": "a", "end": -5}',
        b'{"query": "a", "end": "z"}',
        b'{"end": true}',
    ],
)
def test_a_damaged_line_of_progress_is_where_the_search_goes_on(tmp_path, lines):
    table = tmp_path / "t.csv"
    QueryTable(table, [], {"k": 1})
    progress = tmp_path / "t.csv.progress"
    progress.write_bytes(progress.read_bytes() + lines + b"\n")
    assert QueryTable(table, [], {"k": 1}).finished == {}


def test_a_file_that_is_no_progress_is_left_alone(tmp_path):
    table = tmp_path / "t.csv"
    for other in (b"\xff\xfe\x00bad\n", b"mine\n"):
        table.write_text("mine too")
        (tmp_path / "t.csv.progress").write_bytes(other)
        with pytest.raises(LookalikeError, match=r"t.csv.progress is not what belongs to t.csv"):
            QueryTable(table, [], {"k": 1})
        assert table.read_text() == "mine too"
    with pytest.raises(LookalikeError, match="no regular file"):
        QueryTable(Path("/dev/null"), [], {"k": 1})
