"""``lookalike evaluate explanations`` on generated rooms and folders."""

import json

import pytest
from typer.testing import CliRunner

from lookalike.cli import app
from made_classes import class_folders

MEASURES = "aid-mean,mask-auc,residual"
METHODS = "shares,random,occlusion:cells=2"


def invoke(*args):
    return CliRunner().invoke(app, ["evaluate", "explanations", *map(str, args)])


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("board")
    args = ["rooms", "--pairs", 2, "--methods", METHODS, "--measures", MEASURES, "--run", folder / "run"]
    return folder, args, invoke(*args, "--json", "--report", folder / "board.html")


def test_rows_are_flat_and_know_the_masks_of_rooms(run):
    _, _, result = run
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert {row["method"] for row in rows} == {"shares", "random", "occlusion:cells=2"}
    assert all(set(row) == {"model", "method", "measure", "value", "low", "high", "pairs"} for row in rows)
    masked = [row for row in rows if row["measure"] == "mask-auc"]
    assert len(masked) == 3 and all(row["pairs"] == 2 for row in masked)
    assert {row["method"] for row in rows if row["measure"] == "residual"} == {"shares"}


def test_the_report_is_one_file_with_every_method_and_the_pairs(run):
    folder, _, result = run
    html = (folder / "board.html").read_text()
    assert "http:" not in html and "https:" not in html
    for words in ("occlusion:cells=2", "mask-auc", "polyline", json.loads(result.stdout)["rows"][0]["model"]):
        assert words in html
    assert html.count("<img") == 2 * 2 * (1 + 3)  # pairs, sides, photograph and methods


def test_a_run_is_repeated_from_its_folder_and_prints_a_table(run):
    folder, args, first = run
    before = (folder / "run" / "scores.jsonl").read_text()
    again = invoke(*args)
    assert again.exit_code == 0, again.output
    assert (folder / "run" / "scores.jsonl").read_text() == before
    assert "mini: faithfulness" in again.stdout and "2 pairs" in again.stdout and "*" in again.stdout
    assert json.loads(first.stdout)["rows"] == json.loads(invoke(*args, "--json").stdout)["rows"]


def test_several_data_are_judged_together(run, tmp_path):
    data = class_folders(tmp_path / "classes", n_classes=2, n_images=2)
    args = ["--methods", "center", "--measures", "mask-auc,dependence", "--pairs", 1, "--json"]
    result = invoke(data, "rooms", *args)
    assert result.exit_code == 0, result.output
    pairs = {row["measure"]: row["pairs"] for row in json.loads(result.stdout)["rows"]}
    assert pairs == {"mask-auc": 1, "dependence": 2}  # class folders have no masks


def test_one_pair_has_no_interval(tmp_path):
    data = class_folders(tmp_path / "classes", n_classes=2, n_images=2)
    args = [data, "--methods", "center", "--measures", "fit-r2"]
    for n, has_interval in ((1, False), (2, True)):
        assert ("±" in invoke(*args, "--pairs", n).stdout) == has_interval


@pytest.mark.parametrize(
    ("args", "words"),
    [(["--reference", "sharse"], "reference is one of"),
     (["--measures", "aid-maen"], "did you mean 'aid-mean'"), (["--methods", "sharse"], "did you mean"),
     (["--model", "no/such.onnx"], "no/such.onnx")],
)  # fmt: skip
def test_a_mistake_is_one_sentence(tmp_path, args, words):
    data = class_folders(tmp_path / "classes", n_classes=2, n_images=2)
    result = invoke(data, "--pairs", 1, *args)
    assert result.exit_code == 1 and words in result.stderr and result.stderr.count("\n") == 1
