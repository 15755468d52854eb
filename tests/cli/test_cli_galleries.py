"""The command line of galleries: index, search, upkeep; exit codes and one-sentence errors."""

import csv
import json
import shutil

import pytest
from typer.testing import CliRunner

from lookalike import scenes
from lookalike.cli import app
from made_rooms import save_rooms


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def answer(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    """Eight rooms in the folders of their paintings."""
    folder = tmp_path_factory.mktemp("rooms")
    save_rooms(scenes.gallery_of_rooms(11, n_paintings=4, rooms_per_painting=2, size=(120, 160)), folder)
    return folder


@pytest.fixture(scope="module")
def gallery(rooms, tmp_path_factory):
    uri = tmp_path_factory.mktemp("galleries") / "rooms.gallery"
    result = run("index", rooms, "-g", uri, "--labels-from-folders")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("added 8, known 0")
    return uri


def one_of(rooms):
    return sorted(rooms.rglob("*.png"))[0]


def test_index_again_embeds_nothing(rooms, gallery):
    report = answer("index", rooms, "-g", gallery)
    assert (report["added"], report["known"], report["images"]) == (0, 8, 8)


def test_unreadable_files_are_named_and_the_exit_code_stays_zero(rooms, tmp_path):
    shutil.copy(one_of(rooms), tmp_path / "good.png")
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    result = run("index", tmp_path, "-g", tmp_path / "g")
    assert result.exit_code == 0 and "added 1" in result.stdout
    assert "bad.jpg: not an image" in result.stderr
    (tmp_path / "bad.jpg").unlink()
    (tmp_path / "good.png").unlink()
    assert "--prune" in run("index", tmp_path, "-g", tmp_path / "g").stdout
    asked = run("index", tmp_path, "-g", tmp_path / "g", "--prune")
    assert asked.exit_code == 1 and "nothing was forgotten" in asked.stderr and "--yes" in asked.stderr
    assert answer("index", tmp_path, "-g", tmp_path / "g", "--prune", "--yes")["images"] == 0
    back = answer("gallery", "restore", "-g", tmp_path / "g")
    assert back["images"] == 1 and back["forgotten"] == [str(tmp_path / "good.png")]


def test_metadata_and_ignored_patterns(rooms, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(f"path,year\n{one_of(rooms)},1999\n")
    other = one_of(rooms).parent.name
    answer("index", rooms, "-g", tmp_path / "g", "--metadata", table, "--ignore", f"{other}/room-07*")
    found = answer("search", one_of(rooms), "-g", tmp_path / "g", "--where", "year == 1999")
    assert [hit["path"] for hit in found["hits"]] == [str(one_of(rooms))]


def test_search_prints_a_table_and_json(rooms, gallery):
    result = run("search", one_of(rooms), "-g", gallery, "-k", 3)
    assert result.exit_code == 0 and "1.0000" in result.stdout and str(one_of(rooms)) in result.stdout
    found = answer("search", one_of(rooms), "-g", gallery, "-k", 3)
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3]
    assert (
        found["hits"][0]["metadata"] == {"label": one_of(rooms).parent.name} and found["good_match"] is None
    )


def test_search_takes_parts_filters_rerankers_and_ids(rooms, gallery):
    query = one_of(rooms)
    first = answer("search", query, "-g", gallery)["hits"][0]
    assert answer("search", first["id"], "-g", gallery)["hits"][0]["path"] == first["path"]
    assert answer("search", query, "-g", gallery, "--leave-self-out")["hits"][0]["path"] != first["path"]
    label = first["metadata"]["label"]
    assert len(answer("search", query, "-g", gallery, "--where", f"label == '{label}'")["hits"]) == 2
    for part in (("--box", "20,10,120,90"), ("--polygon", "20,10,120,10,60,90")):
        assert len(answer("search", query, "-g", gallery, *part)["hits"]) == 8
    assert len(answer("search", query, one_of(rooms), "-g", gallery, "--rerank", "aqe")["hits"]) == 8


def test_a_report_draws_what_hits_share_beyond_all_pictures(rooms, gallery, tmp_path):
    plain, beyond = tmp_path / "plain.html", tmp_path / "beyond.html"
    asked = ("search", one_of(rooms), "-g", gallery, "-k", 2, "--report")
    assert run(*asked, plain).exit_code == run(*asked, beyond, "--contrast").exit_code == 0
    assert "shared with all" in beyond.read_text() and "shared with all" not in plain.read_text()
    assert "beyond what all pictures of the gallery share" in beyond.read_text()
    assert "shares, layer -1, against its mean color and a blur" in plain.read_text()
    refused = run("search", one_of(rooms), "-g", gallery, "--contrast")
    assert refused.exit_code == 2 and "--report" in refused.stderr


def test_search_writes_a_report_and_a_table(rooms, gallery, tmp_path):
    html, table = tmp_path / "new" / "hits.html", tmp_path / "hits.csv"
    result = run("search", one_of(rooms), "-g", gallery, "-k", 2, "--report", html, "--csv", table)
    assert result.exit_code == 0, result.output
    page = html.read_text()
    hits = list(csv.DictReader(table.read_text().splitlines()))
    assert len(hits) == 2 and all(hit["sha256"] in page for hit in hits)
    assert "data:image/webp" in page and "http" not in page.replace("http-equiv", "")
    assert json.loads(hits[0]["metadata"])["label"] == one_of(rooms).parent.name


def test_describe_calibrate_optimize_remove(rooms, tmp_path):
    uri = tmp_path / "g"
    answer("index", rooms, "-g", uri)
    assert answer("gallery", "describe", "-g", uri)["n_images"] == 8
    assert "n images" in run("gallery", "describe", "-g", uri).stdout
    curve = answer("gallery", "calibrate", "-g", uri)
    assert curve["n_positive"] == 8
    assert answer("search", one_of(rooms), "-g", uri)["good_match"] is True
    page = tmp_path / "part.html"
    part = run("search", one_of(rooms), "-g", uri, "--box", "20,10,120,90", "-k", 2, "--report", page)
    assert "not for regions" in part.stdout and "calibrated for whole" in page.read_text()
    assert "not for regions" not in run("search", one_of(rooms), "-g", uri).stdout
    assert answer("gallery", "optimize", "-g", uri)["vectors"] == 8
    assert answer("gallery", "remove", "-g", uri, one_of(rooms).parent) == {"removed": 2, "images": 6}
    assert run("gallery", "remove", "-g", uri).exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("search", "ROOM", "-g", "NOWHERE"), 1, "no gallery"),
        (("search", "missing.png", "-g", "GALLERY"), 1, "missing.png"),
        (("search", "ROOM", "-g", "GALLERY", "--box", "1,2,3"), 2, "--box"),
        (("search", "ROOM", "-g", "GALLERY", "--box", "a,b,c,d"), 2, "--box"),
        (("search", "ROOM", "-g", "GALLERY", "--box", "900,900,990,990"), 1, "a box is"),
        (("search", "ROOM", "-g", "GALLERY", "--polygon", "1,2,3"), 2, "--polygon"),
        (("search", "ROOM", "-g", "GALLERY", "--rerank", "magic"), 1, "re-ranker is one of aqe,"),
        (("search", "ROOM", "-g", "GALLERY", "--where", "lable == 1"), 1, "'lable'; there are label"),
        (("search", "ROOM", "-g", "GALLERY", "--where", "label ="), 1, "filter"),
        (("search", "ROOM", "-g", "GALLERY", "-k", "0"), 2, "-k"),
        (("index", "NOWHERE", "-g", "GALLERY"), 2, "does not exist"),
        (("index", "ROOMS", "-g", "GALLERY", "--metadata", "missing.csv"), 1, "can't be read"),
        (("gallery", "describe", "-g", "NOWHERE"), 1, "no gallery"),
    ],
)
def test_what_goes_wrong_is_one_sentence(rooms, gallery, tmp_path, arguments, code, words):
    uris = {"ROOM": one_of(rooms), "ROOMS": rooms, "GALLERY": gallery, "NOWHERE": tmp_path / "nowhere"}
    result = run(*(uris.get(argument, argument) for argument in arguments))
    assert result.exit_code == code, result.output
    assert words in " ".join(result.stderr.replace("│", " ").split()) and "Traceback" not in result.output


def test_a_table_that_cannot_be_read_leaves_no_gallery(rooms, tmp_path):
    table = tmp_path / "items.csv"
    table.write_text("file,label\na.png,x\n")
    result = run("index", one_of(rooms).parent, "-g", tmp_path / "g", "--metadata", table)
    assert result.exit_code == 1 and "no column 'path'" in result.stderr
    assert not (tmp_path / "g").exists()
