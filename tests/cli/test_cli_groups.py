"""``lookalike groups`` and ``same``: output, files, and exit codes that scripts can tell apart."""

import json
import shutil

import pytest
from PIL import ImageOps
from typer.testing import CliRunner

from lookalike import scenes
from lookalike.cli import app
from lookalike.gallery import Gallery


@pytest.fixture(scope="module")
def files(mini, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grouped")
    for i in range(3):
        scenes.paint(i, 200).save(folder / f"{i}.png")
    shutil.copy(folder / "0.png", folder / "copy.png")
    ImageOps.mirror(scenes.paint(1, 200)).save(folder / "mirrored.png")
    (folder / "no.jpg").write_text("no image")
    gallery = Gallery.create(tmp_path_factory.mktemp("galleries") / "g.gallery")
    gallery.add(folder, workers=0)
    return folder, gallery.uri


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_groups_are_written_as_json_csv_and_a_page(files, tmp_path):
    _, uri = files
    words = ("groups", "-g", uri, "--kind", "copy", "--kind", "near-duplicate")
    result = run(*words, "--csv", tmp_path / "g.csv", "--report", tmp_path / "g.html", "--json")
    groups = json.loads(result.output)["groups"]
    assert {group["kind"] for group in groups} == {"copy", "near-duplicate"}
    assert (tmp_path / "g.csv").read_text().startswith("group,kind,path")
    page = (tmp_path / "g.html").read_text()
    assert "mirrored.png" in page
    assert "flipped" in page


@pytest.mark.parametrize(
    "second, code, words",
    [("copy.png", 0, "identical files"), ("2.png", 3, "not the same picture"), ("no.jpg", 1, "no.jpg")],
)
def test_the_exit_code_tells_same_not_the_same_and_error_apart(files, second, code, words):
    folder, _ = files
    result = run("same", folder / "0.png", folder / second)
    assert result.exit_code == code
    assert words in result.output


def test_a_mirrored_picture_is_the_same_picture_and_json_says_how(files):
    folder, _ = files
    result = run("same", folder / "1.png", folder / "mirrored.png", "--json")
    assert result.exit_code == 0
    assert json.loads(result.output)["change"] == ["flipped"]


@pytest.mark.parametrize(
    "words, said",
    [
        (("same", "0.png", "2.png", "-o", "2.png"), "is read here and would be replaced"),
        (("same", "0.png", "2.png", "-o", "2.unknown"), "2.unknown has no known extension"),
        (("groups", "-g", "GALLERY", "--csv", "2.png"), "2.png is a picture and would be replaced by a text"),
        (("groups", "-g", "GALLERY", "--csv", "a.x", "--report", "a.x"), "is to be written twice"),
        (("search", "0.png", "-g", "GALLERY", "--csv", "2.png"), "2.png is a picture and would be replaced"),
        (("search", "0.png", "-g", "GALLERY", "--csv", "a.x", "--report", "a.x"), "is to be written twice"),
        (("search", "0.png", "-g", "GALLERY", "--min-similarity", "nan"), "min_similarity must be a number"),
    ],
)
def test_no_picture_is_replaced_and_no_output_lost(files, monkeypatch, words, said):
    folder, uri = files
    monkeypatch.chdir(folder)
    before = (folder / "2.png").read_bytes()
    result = run(*(uri if word == "GALLERY" else word for word in words))
    assert result.exit_code == 1 and said in result.stderr
    assert (folder / "2.png").read_bytes() == before and not (folder / "a.x").exists()
