"""The recipe of the bundled models on tiny data: it trains, resumes exactly, and exports what loads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from lookalike import Embedder, scenes

ROOT = Path(__file__).parents[2]
SIDE = 96  # pixels
BLOCKS = {"early_pictures": 8, "early_steps": 1, "late_steps": 1, "early_batch": 4, "late_batch": 4}
TINY = {
    "steps": 4, "n_fresh": 4, "check_every": 2, "n_rooms": 4, "n_paintings": 2, "teacher_size": [SIDE, SIDE],
}  # fmt: skip
SIZES = {"input_size": [SIDE, SIDE], "dims": 8}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """Six classes of groceries, one picture of each other source, and a teacher that knows nothing."""
    folder = tmp_path_factory.mktemp("shared")
    for number in range(6):
        save_pictures(folder / f"data/grocery/train/{number}", range(3 * number, 3 * number + 3))
    for number, source in enumerate(("grocery/val/0", "clothing/shirt", "caltech101/chair")):
        save_pictures(folder / "data" / source, range(100 + number, 102 + number))
    torch.manual_seed(0)
    teacher = timm.create_model("mobilenetv2_100", num_classes=1001, pad_type="same")
    (folder / "weights").mkdir()
    save_file(teacher.state_dict(), folder / "weights/mobilenetv2_100_imagenet1001.safetensors")
    return folder


def save_pictures(folder, seeds):
    folder.mkdir(parents=True)
    for seed in seeds:
        scenes.paint(seed, SIDE + 8).save(folder / f"{seed}.jpg")


def tiny_settings(name, folder):
    """The shipped settings, with few steps, pictures and pixels."""
    settings = json.loads((ROOT / f"recipes/{name}/settings.json").read_text()) | TINY
    settings["student"] |= SIZES
    if name == "mini":
        settings |= {"n_framed": 2, "n_room_pairs": 2}
        settings["blocks"] |= BLOCKS | {"n_augmented": 0}
    else:
        settings["student"]["options"] |= {"img_size": SIDE}
    path = folder / f"{name}.json"
    path.write_text(json.dumps(settings))
    return path


def distil(settings, shared, out, *options):
    command = [
        sys.executable,
        "-m",
        "recipes.distil",
        "--settings",
        settings,
        "--shared",
        shared,
        "--out",
        out,
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *options], check=True, cwd=ROOT, env=environment, capture_output=True)


@pytest.mark.long
@pytest.mark.parametrize("name", ["mini", "mini-vit"])
def test_a_run_that_is_stopped_and_continued_exports_the_same_model(name, shared, tmp_path):
    settings = tiny_settings(name, tmp_path)
    distil(settings, shared, tmp_path / "whole")
    distil(settings, shared, tmp_path / "stopped", "--until", "2")
    assert [row["step"] for row in log_of(tmp_path / "stopped")] == [0, 2]
    distil(settings, shared, tmp_path / "stopped")
    assert [row["step"] for row in log_of(tmp_path / "stopped")] == [0, 2, 4]

    whole, stopped = (load_file(tmp_path / run / "export/model.safetensors") for run in ("whole", "stopped"))
    assert whole.keys() == stopped.keys()
    assert all(torch.equal(whole[key], stopped[key]) for key in whole)

    embedder = Embedder.load(tmp_path / "whole/export", device="cpu", precision="fp32")
    (unit,) = embedder.embed([scenes.paint(1, SIDE)])
    assert unit.shape == (SIZES["dims"],)
    torch.testing.assert_close(unit.norm(), torch.tensor(1.0))


def log_of(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def test_the_shipped_curve_is_drawn_from_the_shipped_logs(tmp_path):
    logs = [ROOT / "recipes/mini/blocks.jsonl", ROOT / "recipes/mini/log.jsonl"]
    command = [sys.executable, "-m", "recipes.distil.curve", *logs, tmp_path / "curve.svg"]
    subprocess.run(command, check=True, cwd=ROOT)
    assert (tmp_path / "curve.svg").read_text() == (ROOT / "recipes/mini/curve.svg").read_text()


def test_an_unknown_setting_is_refused(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"name": "mini", "student": {"architecture": "x", "kind": "y", "depth": 3}}))
    command = [sys.executable, "-m", "recipes.distil", "--settings", path]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode and "unknown settings ['depth']" in result.stderr
