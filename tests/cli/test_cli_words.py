"""Words on the command line: search --text and --not, explain --text; what other models answer."""

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lookalike import scenes
from lookalike.cli import app
from made_image_text import save_open_clip
from made_rooms import save_rooms


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with rooms, a model and a gallery by it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "rooms").mkdir()
    save_rooms(
        scenes.gallery_of_rooms(5, n_paintings=2, rooms_per_painting=2, size=(90, 140)), folder / "rooms"
    )
    save_open_clip(folder / "model")
    result = run("index", folder / "rooms", "-g", folder / "g", "--model", folder / "model")
    assert result.exit_code == 0, result.output
    return folder


def test_search_by_words_alone_and_with_images(made, tmp_path):
    report = tmp_path / "hits.html"
    result = run("search", "--text", "red sofa", "-g", made / "g", "-k", 2, "--report", report)
    assert result.exit_code == 0 and "lower than between images" in result.stdout, result.output
    assert "red sofa" in report.read_text()
    room = sorted((made / "rooms").rglob("*.png"))[0]
    result = run(
        "search", room, "--text", "red", "--weight", 0.3, "--not", "blue walls", "-g", made / "g", "--json"
    )
    found = json.loads(result.stdout)
    assert found["text"] == "red" and found["unlike"] == ["blue walls"] and len(found["hits"]) == 4


def test_explain_words_on_an_image(made, tmp_path):
    room = sorted((made / "rooms").rglob("*.png"))[0]
    picture, maps = tmp_path / "why.png", tmp_path / "maps.npz"
    command = ("explain", "--text", "red sofa", room, "--model", made / "model")
    result = run(*command, "-o", picture, "--save-maps", maps)
    assert result.exit_code == 0, result.output
    assert "'red sofa', by leaving each word out:" in result.stdout and "(words together)" in result.stdout
    with Image.open(picture) as drawn, np.load(maps) as arrays:
        assert drawn.width == 1200 and arrays["query_map"].shape == (1, 2)
    found = json.loads(run(*command, "--layer", "last", "--json").stdout)
    stated = sum(found["match_residual_parts"].values())
    assert np.sum(found["match_map"]) + stated == pytest.approx(found["similarity"], abs=1e-5)


def test_other_models_and_usage_are_one_sentence(made, tmp_path):
    room = sorted((made / "rooms").rglob("*.png"))[0]
    result = run("explain", "--text", "red sofa", room)
    assert result.exit_code == 1 and "mini has no text tower" in result.stderr
    for arguments in ((room,), (room, room, "--text", "a"), (room, "--text", "a", "--method", "rollout")):
        assert run("explain", *arguments, "--model", made / "model").exit_code == 2
    assert run("search", "-g", made / "g").exit_code == 2
