"""What learns at which rate in which step."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from lookalike.models.saving import LoadedModel
from lookalike.training import AvslObjective, AvslSettings, TrainableAvsl, train_network
from lookalike.training.log import CsvLog
from lookalike.training.loop import TrainingLoop
from lookalike.training.pictures import TrainingPictures


@pytest.fixture
def loop(tiny_model, proxy_anchor, settings, train_data):
    def make(**changes):
        model, chosen = tiny_model(), settings(**changes)
        pictures = TrainingPictures(train_data, model.preprocessing, chosen, keep=False)
        return TrainingLoop(model, proxy_anchor(), chosen, pictures)

    return make


def test_each_part_has_its_own_learning_rate(loop):
    made = loop(backbone_rate=1e-5, head_rate=2e-4, loss_rate=3e-3)
    groups = made.configure_optimizers()["optimizer"].param_groups
    sizes = [sum(p.numel() for p in group["params"]) for group in groups]
    assert [group["lr"] for group in groups] == [1e-5, 2e-4, 3e-3]
    assert sizes[1:] == [1280 * 6 + 6, 4 * 6]  # the new layer, the proxies
    norms = [p for name, p in made.model.backbone.named_parameters() if ".bn" in name]
    assert sizes[0] == sum(p.numel() for p in made.model.backbone.parameters()) - sum(
        p.numel() for p in norms
    )


def test_gates_learn_at_a_rate_of_their_own_if_it_is_set(tiny_model, settings, train_data):
    for gate_rate, expected in ((0.0, [1e-3, 1e-3, 1e-2]), (1e-4, [1e-3, 1e-3, 1e-2, 1e-4])):
        start = tiny_model(dims=None)
        loaded = LoadedModel(start.network, start.preprocessing, "tiny")
        avsl, chosen = AvslSettings(top_k=3, base="margin"), settings(gate_rate=gate_rate)
        model = TrainableAvsl.of(loaded, avsl, dims=6)
        objective = AvslObjective(model.network.gates, avsl, n_classes=4)
        pictures = TrainingPictures(train_data, model.preprocessing, chosen, keep=False)
        optimizer = TrainingLoop(model, objective, chosen, pictures).configure_optimizers()["optimizer"]
        assert [group["lr"] for group in optimizer.param_groups] == expected
        assert sum(p.numel() for p in optimizer.param_groups[-1]["params"]) in (6 * 6, 6 * 6 + 4 * 4)
        learning = [p for group in optimizer.param_groups for p in group["params"]]
        assert len({id(p) for p in learning}) == len(learning)
        assert {id(p) for p in objective.parameters()} <= {id(p) for p in learning}


def test_the_step_schedule_falls_after_so_many_epochs(loop):
    made = loop(
        schedule="step", step_epochs=2, step_factor=0.25, epochs=5, warm_up_epochs=0
    )  # 3 steps an epoch
    assert [made.rate_factor(step) for step in (0, 5, 6, 11, 12)] == [1, 1, 0.25, 0.25, 0.0625]


def test_the_step_schedule_counts_epochs_after_the_warm_up(loop):
    made = loop(schedule="step", step_epochs=2, step_factor=0.5, epochs=9, warm_up_epochs=3)
    by_epoch = [made.rate_factor(3 * epoch) for epoch in range(9)]
    assert by_epoch == [1, 1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25]


def test_the_cosine_schedule_falls_from_one_to_zero(loop):
    made = loop(schedule="cosine", epochs=4)  # 12 steps
    assert made.rate_factor(0) == 1 and made.rate_factor(12) == pytest.approx(0)
    assert made.rate_factor(4) == pytest.approx(0.5 * (1 + math.cos(math.pi / 3)))


def test_frozen_parts_are_found_by_the_start_of_their_names(loop):
    made = loop(frozen=("conv_stem", "blocks.0"))
    names = made.model.backbone.model.named_parameters()
    still = {name for name, p in names if not p.requires_grad and ".bn" not in name and name[:2] != "bn"}
    assert still and all(name.startswith(("conv_stem", "blocks.0")) for name in still)
    with pytest.raises(ValueError, match="begins with layer1; it has blocks, bn1"):
        loop(frozen=("layer1",))


def state(model, part):
    return {name: value.clone() for name, value in getattr(model, part).state_dict().items()}


def changed(before, after):
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def test_the_backbone_stands_still_in_the_warm_up_and_learns_after_it(
    tmp_path, tiny_model, proxy_anchor, settings, runtime, train_data
):
    model = tiny_model()
    start, head = state(model, "backbone"), state(model.network, "head")
    moved = {}

    def watch(progress):
        if progress.stage == "reading images":
            return
        moved[progress.done] = changed(start, model.backbone.state_dict())

    chosen = settings(epochs=2, warm_up_epochs=1, frozen=("conv_stem",))
    train_network(
        model, proxy_anchor(), train_data, chosen, out=tmp_path / "o", runtime=runtime(), progress=watch
    )
    assert not moved[3] and moved[4]
    assert not any(name.startswith("model.conv_stem") for name in moved[6])
    assert changed(head, model.network.head.state_dict())


@pytest.mark.parametrize("freeze", [True, False])
def test_frozen_batch_norm_keeps_statistics_weight_and_bias(
    tmp_path, tiny_model, proxy_anchor, settings, runtime, train_data, freeze
):
    model = tiny_model()
    start = state(model, "backbone")
    chosen = settings(epochs=1, warm_up_epochs=0, freeze_batch_norm=freeze)
    train_network(model, proxy_anchor(), train_data, chosen, out=tmp_path / "o", runtime=runtime())
    moved = changed(start, model.backbone.state_dict())
    assert any(name.endswith("running_mean") for name in moved) != freeze
    assert any("bn1.weight" in name for name in moved) != freeze
    assert any("bn1.bias" in name for name in moved) != freeze
    assert any("conv" in name for name in moved)


def test_the_gradient_of_each_part_is_clipped_to_its_length(
    tmp_path, tiny_model, proxy_anchor, settings, runtime, train_data
):
    """With plain gradient descent at rate 1 a step is as long as the gradient."""
    for clip, limit in ((1e-3, 1e-3), (0, math.inf)):
        model, objective = tiny_model(), proxy_anchor()
        parts = {"head": model.network.head, "loss": objective}
        before = {name: nn.utils.parameters_to_vector(p.parameters()).detach() for name, p in parts.items()}
        chosen = settings(
            epochs=1, batch_size=18, images_per_class=0, optimizer="sgd", head_rate=1.0, loss_rate=1.0,
            clip=clip,
        )  # fmt: skip
        chosen = replace(chosen, weight_decay=0.0)
        train_network(model, objective, train_data, chosen, out=tmp_path / str(clip), runtime=runtime())
        for name, part in parts.items():
            step = float((nn.utils.parameters_to_vector(part.parameters()).detach() - before[name]).norm())
            # each part has the whole length for itself, which a norm over all parts would share
            assert step == pytest.approx(limit, rel=1e-3) if clip else step > 1e-2


@pytest.mark.parametrize("precision", ["bf16"])
def test_mixed_precision_learns_about_the_same(
    tmp_path, tiny_model, proxy_anchor, settings, runtime, train_data, precision
):
    losses = {}
    for name in ("fp32", precision):
        chosen = settings(epochs=1, precision=name)
        train_network(
            tiny_model(), proxy_anchor(), train_data, chosen, out=tmp_path / name, runtime=runtime()
        )
        losses[name] = [row["loss"] for row in CsvLog(tmp_path / name / "log.csv").rows()]
    assert losses["fp32"] != losses[precision]
    assert losses[precision] == pytest.approx(losses["fp32"], rel=0.05)
