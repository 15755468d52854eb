"""When a training ends before its last epoch, and which epoch is kept."""

import importlib
import json

import pytest
import torch
from safetensors.torch import load_file

from lookalike.errors import TrainingError
from lookalike.training import TrainSettings, kept_epoch, train_network
from lookalike.training.log import CsvLog
from lookalike.training.stopping import EvaluatedEpochs

module = importlib.import_module("lookalike.training.train_network")  # not the function of that name


class Killed(Exception):
    """As a process that ends in the middle."""


def after(values, every=1, **settings):
    """The state after evaluations of epochs 1, 1 + every, ..., until it says stop."""
    chosen, state = TrainSettings(**settings), EvaluatedEpochs()
    for i, value in enumerate(values):
        state.add(1 + i * every, {"recall_at_1": value}, chosen)
        if state.stopped:
            break
    return state


def test_training_stops_after_so_many_epochs_without_a_gain():
    state = after([0.5, 0.6, 0.6, 0.59, 0.6, 0.7], patience=3)
    assert (state.best_epoch, state.epoch) == (2, 5)
    assert state.stopped == "3 epochs without a gain of recall_at_1"
    assert after([0.5, 0.6, 0.6, 0.59, 0.6, 0.7]).best_epoch == 6


def test_patience_counts_epochs_and_not_evaluations():
    assert after([0.5, 0.4, 0.4, 0.4, 0.6], every=5, patience=15).epoch == 16
    assert after([0.5, 0.4, 0.4, 0.6], every=5, patience=15).best_epoch == 16


def test_a_collapse_ends_the_training_at_that_share_of_the_best():
    state = after([0.5, 0.31, 0.3], collapse=0.6)
    assert state.epoch == 3 and state.stopped == "recall_at_1 fell from 0.5000 to 0.3000"
    assert not after([0.5, 0.31, 0.31], collapse=0.6).stopped
    assert not after([0.0], collapse=0.6).stopped


@pytest.fixture
def judged(monkeypatch):
    """Makes evaluations of which the recalls are given."""

    def make(values):
        left = iter(values)
        monkeypatch.setattr(
            module, "validate", lambda *_: {"recall_at_1": (value := next(left)), "map_at_r": value / 2}
        )

    return make


def weights(folder):
    return load_file(folder / "model.safetensors")


def equal(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def trained(tiny_model, proxy_anchor, settings, runtime, train_data, test_data, judged):
    def make(out, values, **options):
        changes = {name: options.pop(name) for name in tuple(options) if hasattr(TrainSettings, name)}
        judged(values)
        return train_network(
            tiny_model(), proxy_anchor(), train_data, settings(evaluate_every=1, **changes), out=out,
            validation=test_data, runtime=runtime(), **options,
        )  # fmt: skip

    return make


def test_the_best_epoch_is_kept_with_its_metrics(trained, tmp_path):
    metrics = trained(tmp_path / "best", [0.2, 0.6, 0.4], keep_best=True)
    trained(tmp_path / "two", [0.2, 0.6], epochs=2)
    assert trained(tmp_path / "last", [0.2, 0.6, 0.4])["recall_at_1"] == 0.4
    assert metrics == {"recall_at_1": 0.6, "map_at_r": 0.3}
    assert equal(weights(tmp_path / "best"), weights(tmp_path / "two"))
    assert not equal(weights(tmp_path / "best"), weights(tmp_path / "last"))
    assert kept_epoch(tmp_path / "best") == "epoch 2 of 3 is kept, the best on the evaluation images"
    assert kept_epoch(tmp_path / "last") == ""


def test_a_stopped_training_says_so_and_stays_stopped(trained, tmp_path):
    out = tmp_path / "m"
    trained(out, [0.5, 0.4, 0.4, 0.4], epochs=9, patience=2, keep_best=True)
    assert len(CsvLog(out / "evaluation.csv").rows()) == 3
    assert json.loads((out / "result.json").read_text()) == {
        "epoch": 1, "last_epoch": 3, "stopped": "2 epochs without a gain of recall_at_1",
    }  # fmt: skip
    before = weights(out)
    metrics = trained(out, [], epochs=9, patience=2, keep_best=True, resume=True)
    assert metrics["recall_at_1"] == 0.5 and equal(weights(out), before)
    (out / "best.ckpt").unlink()
    with pytest.raises(TrainingError, match="the best epoch is lost"):
        trained(out, [], epochs=9, patience=2, keep_best=True, resume=True)
    assert len(CsvLog(out / "log.csv").rows()) == 9


def test_a_resumed_training_remembers_its_best_epoch(trained, tmp_path):
    def kill(progress):
        if progress.stage == "epoch 3" and progress.done == 8:
            raise Killed

    with pytest.raises(Killed):
        trained(tmp_path / "m", [0.2, 0.6], epochs=4, keep_best=True, progress=kill)
    metrics = trained(tmp_path / "m", [0.5, 0.3], epochs=4, keep_best=True, resume=True)
    trained(tmp_path / "two", [0.2, 0.6], epochs=2)
    assert metrics["recall_at_1"] == 0.6
    assert equal(weights(tmp_path / "m"), weights(tmp_path / "two"))


def test_evaluations_follow_the_first_epoch_at_even_steps_and_end_with_the_last(
    tiny_model, proxy_anchor, settings, runtime, train_data, test_data, judged, tmp_path
):
    judged([0.1] * 4)
    train_network(
        tiny_model(), proxy_anchor(), train_data, settings(epochs=8, evaluate_every=3), out=tmp_path / "m",
        validation=test_data, runtime=runtime(),
    )  # fmt: skip
    rows = CsvLog(tmp_path / "m" / "evaluation.csv").rows()
    assert [row["epoch"] for row in rows] == [1, 4, 7, 8]


def test_the_log_shows_the_rate_of_its_own_step(
    tiny_model, proxy_anchor, settings, runtime, train_data, tmp_path
):
    chosen = settings(
        epochs=3, schedule="step", step_epochs=1, step_factor=0.5, warm_up_epochs=1, head_rate=8e-3
    )
    train_network(tiny_model(), proxy_anchor(), train_data, chosen, out=tmp_path / "m", runtime=runtime())
    rates = [row["head_rate"] for row in CsvLog(tmp_path / "m" / "log.csv").rows()]
    assert rates == [8e-3] * 6 + [4e-3] * 3
