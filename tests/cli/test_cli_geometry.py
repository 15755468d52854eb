"""Verification by geometry on the command line: evidence, regions, exit codes, the missing extra."""

import json
import sys

import pytest
from PIL import Image
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.gallery import Gallery
from made_walls import detailed, wall_of

pytest.importorskip("cv2")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Four pictures, a gallery of them, and a wall with two."""
    folder = tmp_path_factory.mktemp("geometry")
    (folder / "paintings").mkdir()
    for seed in range(4):
        detailed(seed).save(folder / "paintings" / f"{seed}.png")
    wall_of([detailed(1), detailed(3)], [2, 0])[0].save(folder / "wall.png")
    result = run("index", folder / "paintings", "-g", folder / "g")
    assert result.exit_code == 0, result.output
    return folder


def test_explain_says_and_draws_whether_two_pictures_match(folder, tmp_path):
    pair = folder / "wall.png", folder / "paintings" / "3.png"
    said = run("explain", *pair, "--method", "geometry", "-o", tmp_path / "a.png")
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith("probability 1.00: similarity ")
    assert "inliers by one homography" in said.stdout
    with Image.open(tmp_path / "a.png") as drawn:
        assert drawn.width == 1200
    values = json.loads(run("explain", *pair, "--method", "geometry", "--json").stdout)
    assert values["inliers"] > 60 and len(values["outline"]) == 4 and not values["mirrored"]


def test_regions_auto_names_both_pictures_in_words_json_and_a_report(folder, tmp_path):
    page = tmp_path / "wall.html"
    said = run("search", folder / "wall.png", "-g", folder / "g", "--regions", "auto", "--report", page)
    assert said.exit_code == 0, said.output
    assert said.stdout.startswith("2 images of the gallery are on this photograph")
    assert "1.png" in page.read_text() and "3.png" in page.read_text()
    values = json.loads(
        run("search", folder / "wall.png", "-g", folder / "g", "--regions", "auto", "--json").stdout
    )
    matches = [region for region in values["regions"] if region["is_match"]]
    assert {region["path"].rsplit("/", 1)[1] for region in matches} == {"1.png", "3.png"}
    assert {"box", "path", "similarity", "inliers", "probability"} <= matches[0].keys()


def test_a_search_by_many_boxes_tells_how_far_it_is(folder):
    seen = []
    boxes = [(20 + 40 * i, 60, 300 + 40 * i, 340) for i in range(3)]
    gallery = Gallery.open(folder / "g")
    gallery.search_regions(folder / "wall.png", boxes=boxes, shortlist=2, progress=seen.append)
    found = [(each.stage, each.done, each.total) for each in seen]
    assert found[:4] == [("searching regions", done, 3) for done in range(4)]
    stages = {stage: (done, total) for stage, done, total in found}  # the last of each
    assert set(stages) <= {"searching regions", "searching among more", "refining boxes"}
    assert len(stages) > 1 and all(done == total > 0 for done, total in stages.values())


def test_progress_has_no_empty_stage_where_nothing_is_found(folder, tmp_path):
    Image.new("RGB", (320, 240), (120, 140, 160)).save(tmp_path / "plain.png")
    seen = []
    found = Gallery.open(folder / "g").search_regions(
        tmp_path / "plain.png", boxes=[(0, 0, 320, 240)], shortlist=2, progress=seen.append
    )
    assert not found.matches and seen and all(each.total > 0 for each in seen)


def test_a_search_by_a_box_prints_inliers_and_probabilities(folder):
    box = "491,97,794,328"
    said = run(
        "search", folder / "wall.png", "-g", folder / "g", "--box", box, "--rerank", "geometry", "-k", 2
    )
    assert said.exit_code == 0, said.output
    header, first = said.stdout.splitlines()[:2]
    assert "probability" in header and "inliers" in header and "1.00" in first


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--regions", "auto", "--box", "1,2,3,4"), 2, "can't be combined with --box"),
        (("--regions", "1,2,3"), 2, "four numbers"),
        (("--regions", "900,900,990,990"), 1, "a box is left, top, right, bottom"),
        (("--correct", "cls"), 1, "correction is one of csls, center"),
    ],
)
def test_what_goes_wrong_is_one_sentence(folder, arguments, code, words):
    result = run("search", folder / "wall.png", "-g", folder / "g", *arguments)
    assert result.exit_code == code, result.output
    assert words in " ".join(result.stderr.replace("│", " ").split()) and "Traceback" not in result.output


@pytest.mark.parametrize("asked", [("--rerank", "geometry"), ("--regions", "auto")])
def test_without_opencv_one_sentence_names_the_extra(folder, monkeypatch, asked):
    monkeypatch.setitem(sys.modules, "cv2", None)
    result = run("search", folder / "wall.png", "-g", folder / "g", *asked)
    assert result.exit_code == 1
    assert "pip install 'lookalike[geometry]'" in result.stderr and len(result.stderr.splitlines()) <= 2


def test_corrected_scores_are_said_to_be_corrected(folder):
    said = run("search", folder / "wall.png", "-g", folder / "g", "--correct", "csls")
    assert said.exit_code == 0, said.output
    assert "score" in said.stdout.splitlines()[0] and "(CSLS)" in said.stdout
