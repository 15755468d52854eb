"""``fit``: one call from class folders to a model that loads."""

import json

import pytest

from lookalike.errors import DatasetError, TrainingError
from lookalike.evaluation import evaluate
from lookalike.training import TrainSettings, fit
from lookalike.training.fitting import training_data
from lookalike.training.model_spec import ModelSpec

SMALL = TrainSettings(epochs=1, batch_size=6, images_per_class=2, input_size=(48, 48), warm_up_epochs=0)


def test_class_folders_become_a_model_that_loads_and_resumes(colored, tmp_path, runtime):
    seen = []
    options = {"out": tmp_path / "m", "dims": 8, "settings": SMALL, "runtime": runtime()}
    result = fit(colored, progress=seen.append, **options)
    assert set(result.metrics) == {"recall_at_1", "recall_at_2", "recall_at_4", "recall_at_8", "map_at_r"}
    assert result.load().embed([colored / "test" / "test0" / "0.png"]).shape == (1, 8)
    assert json.loads(json.dumps(result.to_dict()))["spec"]["dims"] == 8
    assert {p.stage for p in seen} == {"reading images", "epoch 1"}
    assert set(seen[-1].values) == {"loss", *result.metrics}
    with pytest.raises(TrainingError, match="holds a training"):
        fit(colored, **options)
    fit(colored, resume=True, **options)


def test_before_is_what_evaluating_the_start_model_says(colored, tmp_path, runtime):
    result = fit(colored, out=tmp_path / "m", dims=8, settings=SMALL, runtime=runtime())
    said = {
        each.name: each.value for each in evaluate(colored, "mini", split="test", clustering=False).metrics
    }
    assert result.before == pytest.approx({name: said[name] for name in result.before}, abs=1e-6)


def test_splits_are_chosen_by_their_names_or_given(colored, train_data, test_data):
    assert training_data(colored) == (train_data, test_data)
    assert training_data(train_data) == (train_data, None)
    assert training_data(train_data, None, colored / "test")[1].labels == test_data.labels
    assert training_data(colored, "test", "train") == (test_data, train_data)
    with pytest.raises(DatasetError, match="has no split 'val'"):
        training_data(colored, "val")


def test_losses_of_pairs_draw_four_images_of_each_class_unless_told():
    assert ModelSpec(loss="triplet").default_settings().images_per_class == 4
    assert ModelSpec(loss="triplet").default_settings(SMALL).images_per_class == 2
    assert ModelSpec().default_settings().images_per_class == 0
