"""Presets and the options of AVSL on the command line."""

import json
import re
from dataclasses import fields

import pytest
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.cli.training import AVSL_SETTINGS, PRESET_HELP, TRAIN_SETTINGS
from lookalike.training import PRESETS, AvslSettings, ModelSpec, preset


def test_presets_are_as_published():
    cub, sop = preset("cub200-resnet50"), preset("sop-resnet50")
    assert (cub.settings.backbone_rate, cub.settings.head_rate, cub.settings.loss_rate) == (
        1e-5,
        5.5e-4,
        1.1e-4,
    )
    assert cub.avsl.level_weights == (0.5, 1, 0.5) and cub.dims == 512
    assert preset("cars196-resnet50").settings.step_epochs == 5
    assert not sop.settings.freeze_batch_norm and sop.avsl.negative_margin == 2.4
    assert all(p.settings.batch_size == 180 and p.settings.warm_up_epochs == 5 for p in PRESETS.values())


def test_the_help_names_every_preset_and_setting():
    assert set(re.findall(r"[a-z]+\d*-[a-z]+\d*", PRESET_HELP)) - {"BN-Inception"} == set(PRESETS)
    assert {*AVSL_SETTINGS, "base"} == {field.name for field in fields(AvslSettings)}
    assert not set(AVSL_SETTINGS) & set(TRAIN_SETTINGS)


def test_an_unknown_preset_is_named_with_those_there_are():
    with pytest.raises(ValueError, match=r"cub200-resnet50.*'cub'"):
        preset("cub")


def test_what_is_trained_survives_json():
    spec = ModelSpec(model="resnet18", avsl=AvslSettings(top_k=7, level_weights=(1.0, 2.0, 3.0)))
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert ModelSpec.from_dict({"model": "mini"}).avsl is None
    with pytest.raises(ValueError, match="dims"):
        ModelSpec(dims=0, avsl=AvslSettings())


def run(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def test_a_training_from_the_command_line(colored, tmp_path):
    small = ["--epochs", 1, "--batch-size", 8, "--dims", 8, "--input-size", 64, "--warm-up-epochs", 0]
    out = tmp_path / "m"
    result = run(colored, "--avsl", "--loss", "margin", *small, "--set", "top_k=3", "-o", out, "--json")
    assert result.exit_code == 0, result.output
    record = json.loads((out / "training.json").read_text())
    assert record["description"]["avsl"]["base"] == "margin"
    assert record["settings"]["images_per_class"] == 4
    assert json.loads((out / "config.json").read_text())["graph"]["top_k"] == 3


@pytest.mark.parametrize(("options", "reason"), [
    (["--set", "top_k=3"], "settings of AVSL"),
    (["--avsl", "--loss", "triplet"], "proxy-anchor or margin"),
    (["--preset", "birds"], "cub200-resnet50"),
    (["--avsl", "--set", "level_weights=[1,2]"], "level_weights"),
])  # fmt: skip
def test_what_does_not_fit_is_a_sentence_and_nothing_is_written(options, reason, colored, tmp_path):
    result = run(colored, *options, "-o", tmp_path / "m")
    assert result.exit_code in (1, 2)
    assert reason in " ".join(result.output.split())
    assert not (tmp_path / "m").exists()
