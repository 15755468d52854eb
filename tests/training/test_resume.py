"""A training that was killed and resumed is the training that never was."""

import pytest
import torch
from safetensors.torch import load_file

from lookalike.training import fit
from lookalike.training.log import CsvLog


class Killed(Exception):
    pass


def killed_at(step):
    def on_progress(progress):
        if progress.step == step:
            raise Killed

    return on_progress


def losses(folder):
    return [row["loss"] for row in CsvLog(folder / "log.csv").rows()]


# 20 images, 3 steps an epoch, 9 in all: in the warm-up, in the middle of an epoch, at its end.
@pytest.mark.parametrize(("step", "checkpoint_every"), [(2, 1), (5, 2), (6, 100)])
def test_a_resumed_training_has_the_same_losses_and_weights_bit_for_bit(
    tmp_path, step, checkpoint_every, tiny_model, proxy_anchor, settings, running, train_data
):
    fit(tiny_model(), proxy_anchor(), train_data, settings(), out=tmp_path / "whole", running=running())
    with pytest.raises(Killed):
        fit(
            tiny_model(),
            proxy_anchor(),
            train_data,
            settings(),
            out=tmp_path / "killed",
            running=running(on_progress=killed_at(step), checkpoint_every=checkpoint_every),
        )
    torch.rand(7)  # the state of the generators is no part of it
    fit(
        tiny_model(seed=5),  # nor are the weights that the resumed process starts with
        proxy_anchor(seed=5),
        train_data,
        settings(),
        out=tmp_path / "killed",
        resume=True,
        running=running(),
    )
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == 9
    whole, killed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
