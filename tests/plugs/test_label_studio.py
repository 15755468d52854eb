"""Tasks for Label Studio, checked by its own SDK where it is installed."""

import json

import numpy as np
import pytest

from lookalike import scenes
from lookalike.explainers import explain
from lookalike.plugs.label_studio import LABELING_CONFIG, label_studio_task, peak_box


@pytest.fixture(scope="module")
def why(mini):
    return explain(scenes.paint(0, 90).crop((0, 0, 90, 60)), scenes.paint(1, 80), model=mini)


def test_the_box_is_where_the_map_is_highest(why):
    task = label_studio_task(why, "/a.jpg", "/b.jpg", same=True)
    boxes = [r for r in task["predictions"][0]["result"] if r["type"] == "rectanglelabels"]
    for box, side in zip(boxes, (why.query, why.match), strict=True):
        row, column = np.unravel_index(side.values.argmax(), side.grid)
        left, top, right, bottom = side.geometry.cell_box(int(row), int(column), side.grid)
        height, width = side.geometry.original_size
        value = box["value"]
        assert (box["original_width"], box["original_height"]) == (width, height)
        assert value["x"] <= 100 * (left + right) / 2 / width <= value["x"] + value["width"] <= 100 + 1e-6
        assert value["y"] <= 100 * (top + bottom) / 2 / height <= value["y"] + value["height"] <= 100 + 1e-6


def test_a_peak_of_one_cell_and_a_map_without_one():
    assert peak_box(np.array([[0, 5, 0], [0, 0, 0]], np.float32)) == (0, 1, 1, 2)
    assert peak_box(-np.ones((2, 3), np.float32)) == (0, 0, 1, 1)


def test_no_choice_is_made_unless_asked(why):
    result = label_studio_task(why, "/a.jpg", "/b.jpg")["predictions"][0]["result"]
    assert [r["type"] for r in result] == ["rectanglelabels"] * 2
    different = label_studio_task(why, "/a.jpg", "/b.jpg", same=False, score=0.25)["predictions"][0]
    assert different["result"][-1]["value"] == {"choices": ["different"]} and different["score"] == 0.25
    json.dumps(different)


def test_their_sdk_accepts_task_and_prediction(why):
    interface = pytest.importorskip(
        "label_studio_sdk.label_interface", reason="an SDK of its own environment"
    )
    task = label_studio_task(why, "/a.jpg", "/b.jpg", same=True)
    config = interface.LabelInterface(LABELING_CONFIG)
    config.validate()
    assert config.validate_task({"data": task["data"]}, validate_regions_only=False)
    assert config.validate_prediction(task["predictions"][0])
    broken = {**task["predictions"][0], "result": [{"from_name": "nobody"}]}
    assert not config.validate_prediction(broken)
