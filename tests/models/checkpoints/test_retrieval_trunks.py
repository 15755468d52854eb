"""Retrieval networks on the other trunks of their code, against torchvision's layers and GeM's formula."""

import pytest
import torch
import torchvision
from torch.testing import assert_close

from lookalike.errors import CheckpointError
from lookalike.models.checkpoints import load_checkpoint
from lookalike.models.embedder import Embedder

POWER = 2.4


@pytest.fixture(scope="module", params=["alexnet", "vgg11", "vgg16", "densenet121"])
def trunk(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = list(getattr(torchvision.models, request.param)(weights=None).features.children())
        layers = [*layers, torch.nn.ReLU()] if "densenet" in request.param else layers[:-1]
        trunk = torch.nn.Sequential(*layers).eval().requires_grad_(False)
        for module in trunk.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return request.param, trunk


def write(path, name, tensors):
    meta = {"architecture": name, "pooling": "gem", "mean": [0.0] * 3, "std": [1.0] * 3}
    features = {f"features.{key}": tensor for key, tensor in tensors.items()}
    torch.save({"meta": meta, "state_dict": features | {"pool.p": torch.tensor([POWER])}}, path)
    return path


def test_embeddings_and_shares_are_those_of_the_formula(trunk, tmp_path, noise):
    name, layers = trunk
    path = write(tmp_path / "network.pth", name, layers.state_dict())
    model = Embedder.load(path, device="cpu", precision="fp32").network
    image = noise(1, 3, 96, 160).sigmoid()  # not square
    pooled = layers(image).clamp(min=1e-6).pow(POWER).mean((2, 3)).pow(1 / POWER)
    expected = pooled / (pooled.norm() + 1e-6)
    with torch.inference_mode():
        assert_close(model(image), expected, rtol=1e-5, atol=1e-6)
        assert_close(model.shares(image).values.sum(1), expected, rtol=1e-4, atol=1e-6)


def test_a_saved_folder_holds_the_same_network(trunk, tmp_path, pictures):
    path = write(tmp_path / "network.pth", trunk[0], trunk[1].state_dict())
    model = Embedder.load(path, input_size=(160, 160), device="cpu", precision="fp32")
    picture = pictures[0].resize((200, 160))
    model.save(tmp_path / "folder")
    again = Embedder.load(tmp_path / "folder", device="cpu", precision="fp32")
    assert_close(again.embed([picture]), model.embed([picture]))


def test_names_of_the_first_torchvision_are_read(tmp_path, noise):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = torch.nn.Sequential(*torchvision.models.densenet121(weights=None).features.children())
    tensors = layers.state_dict()
    old = {n.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): t for n, t in tensors.items()}
    assert old.keys() != tensors.keys()
    files = write(tmp_path / "new.pth", "densenet121", tensors), write(tmp_path / "old.pth", "d", old)
    image = noise(1, 3, 64, 96)
    new, again = (load_checkpoint(file).network.eval()(image) for file in files)
    assert_close(new, again)


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ({"0.weight": (8, 3, 5, 5), "0.bias": (8,)}, "backbone x that is not known"),
        ({"0.weight": (8, 3, 3, 3), "4.weight": (8, 8, 3, 3)}, "backbone x that is not known"),
        ({"0.weight": (8, 3, 3, 3), "2.weight": (8, 8, 3, 3), "0.bias": (8,)}, "1 of 4 tensors are missing"),
        ({"3.squeeze.weight": (8, 3, 1, 1)}, "backbone x that is not known"),
    ],
)
def test_other_trunks_are_named_and_incomplete_ones_refused(tmp_path, shapes, found):
    path = write(tmp_path / "odd.pth", "x", {name: torch.zeros(shape) for name, shape in shapes.items()})
    with pytest.raises(CheckpointError, match=found):
        load_checkpoint(path)
