"""lookalike train: from class folders to a model that the other commands take."""

import dataclasses
import inspect
import json
import os
import re
import signal

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.cli import training as command
from lookalike.models.embedder import Embedder
from lookalike.training import AvslSettings, ModelSpec, TrainSettings, recorded

FAST = ("--epochs", 2, "--batch-size", 4, "--input-size", 32, "--dims", 0, "--device", "cpu",
        "--evaluate-every", 2, "--set", "crop_pct=1.0")  # fmt: skip


def run(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    top = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for number in range(2):
            (top / split / f"{split}{number}").mkdir(parents=True)
            for i in range(2):
                pixels = random.integers(60 * number, 60 * number + 120, (30, 41, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(top / split / f"{split}{number}" / f"{i}.png")
    return top


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "model"
    return out, run(photos, "-o", out, *FAST, "--json")


def test_training_writes_a_model_that_embeds(trained, photos):
    out, result = trained
    assert result.exit_code == 0, result.output
    embedder = Embedder.load(out)
    assert embedder.preprocessing.input_size == (32, 32)
    assert embedder.embed([photos / "test/test0/0.png"]).shape == (1, Embedder.load("mini").embed(
        [photos / "test/test0/0.png"]).shape[1])  # fmt: skip


def test_json_has_the_metrics_on_the_classes_of_the_test_split(trained):
    printed = json.loads(trained[1].stdout)
    assert printed["model"] == str(trained[0])
    assert set(printed["metrics"]) == {"recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8", "map_at_r"}
    assert printed["settings"]["epochs"] == 2


def test_resuming_takes_the_settings_from_the_folder(trained, photos):
    out, _ = trained
    subject, settings = recorded(out)
    assert (subject.model, subject.dims, settings.epochs) == ("mini", 0, 2)
    result = run(photos, "-o", out, "--resume", "--device", "cpu")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("flags", [("--avsl",), ("--preset", "cub200-resnet50")])
def test_what_begins_a_training_is_refused_with_resume(trained, photos, flags):
    result = run(photos, "-o", trained[0], "--resume", *flags)
    assert result.exit_code == 1 and re.search("leave (it|--avsl) out", result.output)


def test_an_earlier_versions_record_is_resumed(photos, tmp_path):
    """It has not the settings that came later."""
    begun = run(photos, "-o", tmp_path / "m", "--avsl", *FAST, "--dims", 8, "--set", "top_k=4")
    assert begun.exit_code == 0, begun.output
    record = json.loads((tmp_path / "m/training.json").read_text())
    del record["description"]["avsl"]["levels"]
    (tmp_path / "m/training.json").write_text(json.dumps(record))
    result = run(photos, "-o", tmp_path / "m", "--resume", "--device", "cpu")
    assert result.exit_code == 0, result.output


def test_losses_of_pairs_draw_images_of_each_class():
    assert ModelSpec(loss="triplet").compares_images and not ModelSpec(loss="arcface").compares_images
    assert ModelSpec(avsl=AvslSettings(base="margin")).compares_images


def test_resuming_with_other_settings_names_them(trained, photos):
    result = run(photos, "-o", trained[0], "--resume", "--epochs", 3, "--loss", "supcon")
    assert result.exit_code == 1
    assert "epochs was 2, is 3" in result.stderr and "loss was 'proxy-anchor', is 'supcon'" in result.stderr


def test_a_folder_with_a_training_is_not_overwritten(trained, photos):
    before = (trained[0] / "log.csv").read_bytes()
    result = run(photos, "-o", trained[0], *FAST)
    assert result.exit_code == 1 and "holds a training" in result.stderr
    assert (trained[0] / "log.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--loss", "hinge"), "loss is one of proxy-anchor"),
        (("--set", "betas=1"), "unknown settings of training: betas"),
        (("--schedule", "rising"), "schedule is constant, step, cosine"),
        (("--memory", 8), "takes no memory; multi-similarity"),
        (("--evaluate-on", "none"), "no dataset at none"),
        (("--resume",), "holds no training to resume"),
        (("--batch-size", 64), "a batch of 64 images can't be drawn from 4"),
    ],
)
def test_wrong_wishes_are_one_sentence_and_leave_nothing(photos, tmp_path, arguments, message):
    result = run(photos, "-o", tmp_path / "out", *FAST, *arguments)
    assert result.exit_code == 1 and message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_missing_extra_is_one_sentence_with_the_command(monkeypatch, photos, tmp_path):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    result = run(photos, "-o", tmp_path / "out")
    assert result.exit_code == 1 and "pip install 'lookalike[train]'" in result.stderr


def test_every_setting_can_be_given():
    options = set(inspect.signature(command.train).parameters)
    names = {field.name for field in dataclasses.fields(TrainSettings)}
    assert names == (names & options) | set(command.TRAIN_SETTINGS)
    assert not options & set(command.TRAIN_SETTINGS)


def test_without_a_split_a_part_is_held_out_and_before_and_after_are_said(photos, tmp_path):
    both = [file for split in ("train", "test") for file in sorted((photos / split).rglob("*.png"))]
    for number, file in enumerate(both):
        (tmp_path / "data" / str(number % 2)).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / str(number % 2) / f"{number}.png").write_bytes(file.read_bytes())
    result = run(tmp_path / "data", "-o", tmp_path / "out", *FAST)
    assert result.exit_code == 0, result.output
    assert re.search(
        r"before -> after on 4 images that were held out: recall_at_1 [\d.]+ -> [\d.]+", result.output
    )
    nothing = run(tmp_path / "data", "-o", tmp_path / "all", "--hold-out", 0, *FAST)
    assert "not known whether the model has improved" in nothing.output
    assert (tmp_path / "out" / "progress.log").read_text().count("step 2 of 2") == 1


def test_an_interrupted_training_says_how_to_go_on_and_exits_with_130(photos, tmp_path, monkeypatch):
    show = command._with_metrics

    def interrupting(shown):
        def progress(now):
            if now.stage.startswith("epoch") and now.done == 1:
                os.kill(os.getpid(), signal.SIGINT)
            show(shown)(now)

        return progress

    monkeypatch.setattr(command, "_with_metrics", interrupting)
    result = run(photos, "-o", tmp_path / "out", *FAST)
    assert result.exit_code == 130
    assert result.output.splitlines()[-1] == "lookalike: interrupted at step 1; go on with --resume"
