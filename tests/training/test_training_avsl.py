"""AVSL in training: the published losses, learning, and a folder that is an AVSL model."""

import pytest
import torch
from torch.testing import assert_close

from lookalike.errors import UnsupportedMethodError
from lookalike.models.avsl import AvslModel
from lookalike.models.avsl_network import Gates, GraphSettings
from lookalike.models.embedder import Embedder
from lookalike.models.loading import from_timm
from lookalike.ops.avsl import final_distances
from lookalike.training import train_network
from lookalike.training.avsl import AvslObjective, AvslSettings, TrainableAvsl

WIDTH, SETTINGS = 12, AvslSettings(top_k=4)


@pytest.fixture
def tiny_avsl():
    def make(settings=SETTINGS, n_classes=4, seed=0):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            start = from_timm("mobilenetv2_035", pretrained=False, input_size=(64, 96))
        model = TrainableAvsl.of(start, settings, dims=WIDTH, seed=seed)
        return model, AvslObjective(model.network.gates, settings, n_classes=n_classes, seed=seed)

    return make


def test_losses_and_links_are_those_of_the_published_code(goldens):
    import numpy as np

    with np.load(goldens / "avsl.npz") as file:
        golden = {key: torch.tensor(file[key]) for key in file.files if key != "config"}
    gates = Gates(20, 3, GraphSettings(top_k=6))
    for i in range(3):
        gates.coefficients[i].data = golden[f"collector_before/prob_coef_{i}"]
        gates.biases[i].data = golden[f"collector_before/prob_bias_{i}"]
    objective = AvslObjective(gates, AvslSettings(top_k=6), n_classes=5)
    for i in range(3):
        objective.proxies[i].data = golden[f"collector_before/proxy_{i}"]
    for part in ("train0", "train1"):
        output = (
            *(golden[f"{part}/embedding_{i}"] for i in range(3)),
            *(golden[f"{part}/certainty_{i}"] for i in range(3)),
            *(golden[f"{part}/link_{i}to{i + 1}"][None] for i in range(2)),
        )
        terms = objective(output, golden[f"{part}/labels"])
        assert_close(terms["final"], golden[f"{part}/loss_final"], rtol=1e-5, atol=0)
        for i, weight in enumerate((0.5, 1.0, 0.5)):
            assert_close(terms[f"level_{i}"], weight * golden[f"{part}/loss_level{i}"], rtol=1e-5, atol=0)
        for i in range(2):
            assert_close(gates.links[i], golden[f"{part}/buffer_{i}to{i + 1}"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("base", ["proxy-anchor", "margin"])
def test_the_loss_falls_and_every_part_learns(base, tiny_avsl):
    model, objective = tiny_avsl(AvslSettings(base=base, top_k=4))
    generator = torch.Generator().manual_seed(1)
    images, labels = torch.randn(8, 3, 64, 96, generator=generator), torch.arange(4).repeat_interleave(2)
    parameters = [*model.parameters(), *objective.parameters()]
    before = [p.detach().clone() for p in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3)
    losses = []
    for _ in range(8):
        torch.manual_seed(0)
        loss = torch.stack(list(objective(model.train()(images), labels).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] * 0.9
    moved = {id(p) for p, old in zip(parameters, before, strict=True) if not torch.equal(p, old)}
    for part in (model.backbone, model.projections, objective.gates):
        assert any(id(p) in moved for p in part.parameters())
    assert not {id(p) for p in model.parameters()} & {id(p) for p in objective.parameters()}


def test_many_classes_compare_with_those_of_the_batch_only(tiny_avsl, monkeypatch):
    monkeypatch.setattr("lookalike.training.avsl.MANY_CLASSES", 3)
    model, objective = tiny_avsl(n_classes=7)
    images = torch.randn(4, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    sum(objective(model.train()(images), torch.tensor([1, 1, 5, 5])).values()).backward()
    touched = objective.proxies[0].grad.abs().sum(1) > 0
    assert touched.nonzero()[:, 0].tolist() == [1, 5]


def test_processes_average_their_links(tiny_avsl):
    """Two halves of a batch, gathered, move the links as the whole batch does."""
    model, objective = tiny_avsl()
    images, labels = torch.randn(4, 3, 64, 96, generator=torch.Generator().manual_seed(1)), torch.arange(4)
    model.train()
    model.backbone.eval()  # BatchNorm with its own statistics would tell the halves apart
    whole = model(images)
    halves = [torch.cat(parts) for parts in zip(model(images[:2]), model(images[2:]), strict=True)]
    assert halves[-1].shape == (2, WIDTH, WIDTH)
    objective(whole, labels)
    expected = objective.gates.links.clone()
    objective.gates.n_updates.zero_()
    objective(tuple(halves), labels)
    assert_close(objective.gates.links, expected, atol=1e-6, rtol=1e-4)


def test_a_trained_folder_is_an_avsl_model(tiny_avsl, train_data, test_data, settings, runtime, tmp_path):
    model, objective = tiny_avsl()
    small = settings(epochs=1, warm_up_epochs=0, input_size=(64, 96))
    metrics = train_network(
        model, objective, train_data, small, out=tmp_path / "m", validation=test_data, runtime=runtime()
    )
    assert 0 <= metrics["recall_at_1"] <= 1
    embedder = Embedder.load(tmp_path / "m", device="cpu", precision="fp32")
    images = list(test_data.paths[:4])
    avsl = AvslModel(embedder)
    assert int(avsl.network.gates.n_updates) == len(train_data) // small.batch_size
    nodes = avsl.nodes(images)
    assert_close(
        avsl.distances(nodes), final_distances(nodes, nodes, avsl.graph_on_cpu), atol=1e-4, rtol=1e-4
    )


def test_neighbors_are_those_of_the_final_distance(tiny_avsl):
    model, objective = tiny_avsl()
    images = torch.randn(9, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    objective(model.train()(images), torch.arange(9) % 4)
    model.eval()
    nearest = model.nearest(images.split(4), 3)
    nodes = model.network(images).nodes
    distances = final_distances(nodes, nodes, model.network.gates.graph()).fill_diagonal_(torch.inf)
    assert torch.equal(nearest, distances.argsort(dim=1)[:, :3])


def test_a_start_without_three_levels_is_refused():
    start = from_timm("vit_tiny_patch16_224", pretrained=False)
    with pytest.raises(UnsupportedMethodError, match="3 resolutions"):
        TrainableAvsl.of(start, AvslSettings())


def test_an_avsl_model_goes_on_from_its_own_graph(tiny_avsl, tmp_path):
    model, objective = tiny_avsl()
    objective(model.train()(torch.randn(4, 3, 64, 96)), torch.arange(4))
    model.save(tmp_path, model.preprocessing)
    from lookalike.models.loading import load_model

    again = TrainableAvsl.of(load_model(tmp_path), SETTINGS, dims=99)
    assert_close(again.network.gates.links, model.network.gates.links)
    assert int(again.network.gates.n_updates) == 1
    assert all(p.requires_grad for p in again.parameters())


@pytest.mark.parametrize("wrong", [
    {"base": "triplet"}, {"level_weights": (1.0, 2.0)}, {"level_weights": (1.0, -2.0, 0.0)}, {"top_k": 0},
    {"power": 0.5},
])  # fmt: skip
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))[:3].strip("(")):
        AvslSettings(**wrong)
    assert AvslSettings.from_dict(SETTINGS.to_dict()) == SETTINGS
