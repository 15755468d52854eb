"""``lookalike case`` and what other commands do with a case."""

import json

import pytest
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.gallery import Gallery
from lookalike.scenes import gallery_of_rooms
from made_rooms import save_rooms


@pytest.fixture
def rooms(tmp_path, mini):
    folder = tmp_path / "rooms"
    folder.mkdir()
    files = save_rooms(gallery_of_rooms(3, n_paintings=3, rooms_per_painting=2, size=(90, 120)), folder)
    Gallery.create(tmp_path / "g.gallery", mini).add(folder, workers=0)
    return files[0], str(tmp_path / "g.gallery")


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result.stdout if code == 0 else result.stderr


def test_a_search_becomes_a_case_that_is_decided_exported_and_imported(rooms, tmp_path):
    file, gallery = rooms
    search = ("search", file, "-g", gallery, "-k", 4, "--box", "5,5,80,60", "--case", "wall")
    before = json.loads(run(*search, "--json"))["hits"]
    shown = json.loads(run("case", "show", "wall", "-g", gallery, "--json"))["pairs"]
    assert [pair["hit"]["sha256"] for pair in shown] == [hit["sha256"] for hit in before]
    run("case", "decide", "wall", shown[0]["id"], "same", "-g", gallery, "--note", "crack", "--who", "anna")
    run("case", "decide", "wall", shown[1]["id"], "different", "-g", gallery)
    out = json.loads(run("case", "undo", "wall", "-g", gallery, "--who", "anna", "--json"))
    assert (out["id"], out["verdict"]) == (shown[0]["id"], None)
    moved = CliRunner().invoke(app, [str(each) for each in search])
    assert "searching with what was decided in the case 'wall': 0 the same, 1 different" in moved.stderr
    json_file, report, labeled = tmp_path / "c.json", tmp_path / "c.html", tmp_path / "labeled"
    run("case", "export", "wall", "-g", gallery, "--to", json_file, "--report", report, "--pairs", labeled)
    assert shown[1]["hit"]["sha256"] in report.read_text()
    assert (labeled / "pairs.csv").read_text().count("\n") == 2
    assert "of them are new or changed here" in run("case", "import", "copy", json_file, "-g", gallery)
    listed = json.loads(run("case", "list", "-g", gallery, "--json"))["cases"]
    assert [(each["name"], each["pairs"], each["undecided"]) for each in listed] == [
        ("copy", 4, 3),
        ("wall", 4, 3),
    ]


def test_what_is_not_there_is_said_in_a_sentence(rooms, tmp_path):
    file, gallery = rooms
    assert "no such file" in run("search", tmp_path / "no.jpg", "-g", gallery, "--case", "wall", code=1)
    said = run("case", "show", "wall", "-g", gallery, code=1)
    assert "the gallery has no case 'wall': it has none" in said
    run("search", file, "-g", gallery, "-k", 1, "--case", "wall")
    assert "has no pair" in run("case", "decide", "wall", "0" * 16, "same", "-g", gallery, code=1)
    assert "a case takes one picture" in run("search", file, file, "-g", gallery, "--case", "wall", code=2)
    assert "give --report" in run("case", "export", "wall", "-g", gallery, code=2)
    assert "it has wall" in run("gallery", "calibrate", "-g", gallery, "--case", "wal", code=1)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("--text", "a red sofa"), "needs an image"),
        (("--each", "{folder}", "--csv", "out.csv"), "--case"),
    ],
)
def test_a_case_takes_the_hits_of_one_image(rooms, arguments, message):
    file, gallery = rooms
    given = [each.replace("{folder}", str(file.parent)) for each in arguments]
    assert message in " ".join(run("search", "-g", gallery, *given, "--case", "wall", code=2).split())
    assert Gallery.open(gallery).cases() == []


def test_what_moved_a_similarity_is_kept_with_the_pair(rooms):
    file, gallery = rooms
    other = sorted(file.parent.parent.rglob("*.png"))[-1]
    run("search", file, "-g", gallery, "-k", 3, "--correct", "csls", "--case", "corrected")
    run("search", file, "-g", gallery, "-k", 3, "--not", other, "--case", "moved")
    cases = [Gallery.open(gallery).case(name) for name in ("corrected", "moved")]
    (corrected, *_), (moved, *_) = (case.decisions() for case in cases)
    assert corrected.parameters["correct"] == "csls" and corrected.is_plain  # its cosine is not changed
    assert moved.parameters["unlike"] == [str(other)] and not moved.is_plain


def test_a_damaged_case_is_named_and_harms_none_of_the_others(rooms):
    file, gallery = rooms
    for name in ("good", "bad"):
        run("search", file, "-g", gallery, "-k", 1, "--case", name)
    damaged = Gallery.open(gallery).case("bad").file
    for each in damaged.parent.glob("bad.sqlite*"):
        each.unlink()
    damaged.write_bytes(b"no database" * 500)
    listed = CliRunner().invoke(app, ["case", "list", "-g", gallery])
    assert listed.exit_code == 0 and "good" in listed.stdout
    assert "left out" in listed.stderr and "bad.sqlite" in listed.stderr
    assert list(json.loads(run("case", "list", "-g", gallery, "--json"))["damaged"]) == ["bad"]
