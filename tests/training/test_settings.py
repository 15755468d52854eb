import json
import re

import pytest

from lookalike.training import AvslSettings, ModelSpec, TrainSettings


def test_settings_come_back_from_json():
    settings = TrainSettings(frozen=("blocks.0",), input_size=(32, 48), crop_area=(0.2, 0.9), epochs=3)
    assert TrainSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "epochs is 1 or more, got 0"),
        ({"optimizer": "lamb"}, "optimizer is adamw, adam, sgd"),
        ({"schedule": "rising"}, "schedule is constant, step, cosine"),
        ({"precision": "int8"}, "precision is fp32, bf16, fp16"),
        ({"head_rate": float("nan")}, "head_rate is 0 or more, got nan"),
        ({"batch_size": 10, "images_per_class": 4}, "a multiple of images_per_class, got 10 and 4"),
        ({"crop_area": (0.5, 0.2)}, "crop_area is two numbers"),
        ({"flip": 1.5}, "flip is a probability"),
    ],
)
def test_values_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TrainSettings(**change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"freeze_batch_norm": "False"}, "freeze_batch_norm is true or false, such as True; got 'False'"),
        ({"clip": "abc"}, "clip is a number"),
        ({"epochs": 2.5}, "epochs is a whole number"),
        ({"seed": True}, "seed is a whole number"),
        ({"crop_area": 5}, "crop_area is 2 numbers"),
        ({"crop_area": [1.0]}, "crop_area is 2 numbers"),
        ({"step_factor": -1.0}, "step_factor is 0 or more"),
    ],
)
def test_values_of_another_type_are_refused(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainSettings.from_dict(change)


def test_one_frozen_part_may_be_a_word():
    assert TrainSettings.from_dict({"frozen": "blocks.0"}).frozen == ("blocks.0",)


@pytest.mark.parametrize("change", [{"top_k": 2.5}, {"level_weights": 1}, {"levels": 3}])
def test_values_of_another_type_are_refused_by_avsl(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        AvslSettings.from_dict(change)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="unknown settings of training: momentum"):
        TrainSettings.from_dict({"momentum": 0.9})
    with pytest.raises(ValueError, match="unknown fields of a model spec: network"):
        ModelSpec.from_dict({"network": "mini"})
