"""A training that was killed and resumed is the training that never was."""

import pytest
import torch
from safetensors.torch import load_file

from lookalike.models.saving import LoadedModel
from lookalike.training import AvslObjective, AvslSettings, EmbeddingLoss, TrainableAvsl, train_network
from lookalike.training.log import CsvLog


class Killed(Exception):
    pass


def killed_at(step):
    def progress(now):
        if now.stage.startswith("epoch") and now.done == step:
            raise Killed

    return progress


def losses(folder):
    return [row["loss"] for row in CsvLog(folder / "log.csv").rows()]


# 20 images, 3 steps an epoch, 9 in all: in the warm-up, in the middle of an epoch, at its end.
@pytest.mark.parametrize(("step", "checkpoint_every"), [(2, 1), (5, 2), (6, 100)])
def test_a_resumed_training_has_the_same_losses_and_weights_bit_for_bit(
    tmp_path, step, checkpoint_every, tiny_model, proxy_anchor, settings, runtime, train_data
):
    train_network(
        tiny_model(), proxy_anchor(), train_data, settings(), out=tmp_path / "whole", runtime=runtime()
    )
    with pytest.raises(Killed):
        train_network(
            tiny_model(),
            proxy_anchor(),
            train_data,
            settings(),
            out=tmp_path / "killed",
            runtime=runtime(checkpoint_every=checkpoint_every),
            progress=killed_at(step),
        )
    torch.rand(7)  # the state of the generators is no part of it
    train_network(
        tiny_model(seed=5),  # nor are the weights that the resumed process starts with
        proxy_anchor(seed=5),
        train_data,
        settings(),
        out=tmp_path / "killed",
        resume=True,
        runtime=runtime(),
    )
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    assert len(losses(tmp_path / "whole")) == 9
    whole, killed = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


def avsl(tiny_model, seed=0):
    """Nodes at three levels on the same backbone: links and gates are state of the objective."""
    start = tiny_model(dims=None, seed=seed)
    loaded = LoadedModel(start.network, start.preprocessing, "tiny")
    settings = AvslSettings(top_k=4)
    model = TrainableAvsl.of(loaded, settings, dims=6, seed=seed)
    return model, AvslObjective(model.network.gates, settings, n_classes=4, seed=seed)


def with_memory(tiny_model, seed=0):
    """Pairs with past batches, and negatives drawn at random."""
    return tiny_model(seed=seed), EmbeddingLoss("margin", n_classes=4, dims=6, memory=18, seed=seed)


@pytest.mark.parametrize("make", [avsl, with_memory])
def test_what_an_objective_remembers_is_resumed_too(
    tmp_path, make, tiny_model, settings, runtime, train_data
):
    chosen = settings(epochs=2, warm_up_epochs=0)
    train_network(*make(tiny_model), train_data, chosen, out=tmp_path / "whole", runtime=runtime())
    interrupted = {"runtime": runtime(checkpoint_every=4), "progress": killed_at(5)}
    with pytest.raises(Killed):
        train_network(*make(tiny_model), train_data, chosen, out=tmp_path / "killed", **interrupted)
    again = make(tiny_model, seed=5)
    train_network(*again, train_data, chosen, out=tmp_path / "killed", resume=True, runtime=runtime())
    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")


def test_a_training_that_was_killed_while_its_record_was_written_can_be_started_again(
    tmp_path, tiny_model, proxy_anchor, settings, runtime, train_data
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".training.json").write_text('{"settings": {"epo')
    train_network(
        tiny_model(), proxy_anchor(), train_data, settings(epochs=1), out=tmp_path / "out", runtime=runtime()
    )
    assert (tmp_path / "out" / "model.safetensors").exists()
    assert not (tmp_path / "out" / ".training.json").exists()
