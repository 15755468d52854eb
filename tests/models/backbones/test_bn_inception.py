"""BN-Inception: the published names, a forward pass written out, levels, preprocessing, exact shares."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.errors import UnknownModelError
from lookalike.models.backbones import (
    bn_inception,
    create_backbone,
    level_maps,
    level_widths,
    published_weights,
)
from lookalike.models.checkpoints import load_checkpoint
from lookalike.models.embedder import Embedder
from lookalike.models.layers import layers_of
from lookalike.models.loading import from_timm
from lookalike.models.saving import load_folder, save_folder

LAYERS = Path(__file__).parent / "bn_inception_layers.txt"  # each convolution, (out, in, height, width)


def published_shapes(n_classes=1000):
    """Name and shape of every tensor of the published file, from its convolutions."""
    shapes = {"last_linear.weight": (n_classes, 1024), "last_linear.bias": (n_classes,)}
    for line in LAYERS.read_text().splitlines():
        name, _, size = line.partition(" ")
        shape = tuple(map(int, size.split("x")))
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1], f"{name}_bn.num_batches_tracked": ()}
        norm = ("weight", "bias", "running_mean", "running_var")
        shapes |= {f"{name}_bn.{each}": shape[:1] for each in norm}
    return shapes


@pytest.fixture(scope="module")
def network():
    """Random weights, and statistics that are not those of a fresh BatchNorm."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = bn_inception.bninception()
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(0, 0.2)
    return model.eval().requires_grad_(False)


def written_out(weights, images):
    """Maps after each block for BGR images, from the tensors alone, after table 4 of the paper."""

    def layer(x, name, stride=1):
        w = weights[f"{name}.weight"]
        x = F.conv2d(x, w, weights[f"{name}.bias"], stride, w.shape[2] // 2)
        norm = [weights[f"{name}_bn.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return F.batch_norm(x, *norm).relu()

    x = F.max_pool2d(layer(images, "conv1_7x7_s2", 2), 3, 2, ceil_mode=True)
    x = F.max_pool2d(layer(layer(x, "conv2_3x3_reduce"), "conv2_3x3"), 3, 2, ceil_mode=True)
    maps = {}
    for block in ("3a", "3b", "3c", "4a", "4b", "4c", "4d", "4e", "5a", "5b"):
        top, halves = f"inception_{block}", block in ("3c", "4e")
        stride = 2 if halves else 1
        three = layer(layer(x, f"{top}_3x3_reduce"), f"{top}_3x3", stride)
        double = layer(layer(x, f"{top}_double_3x3_reduce"), f"{top}_double_3x3_1")
        double = layer(double, f"{top}_double_3x3_2", stride)
        if halves:
            x = torch.cat([three, double, F.max_pool2d(x, 3, 2, ceil_mode=True)], 1)
        else:
            pool = F.max_pool2d if block == "5b" else F.avg_pool2d
            x = torch.cat(
                [layer(x, f"{top}_1x1"), three, double, layer(pool(x, 3, 1, 1), f"{top}_pool_proj")], 1
            )
        maps[block] = x
    return maps


def test_names_and_shapes_are_those_of_the_published_file(network):
    ours = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    assert ours == published_shapes()
    assert len(LAYERS.read_text().splitlines()) == 69


def test_the_forward_pass_is_the_one_written_out(network, noise):
    images = 60 * noise(2, 3, 96, 160)  # RGB
    expected = written_out(network.state_dict(), images.flip(1))
    last, found = network.forward_intermediates(images, indices=[1, 4, 7])
    assert last.shape == (2, 1024, 3, 5)
    assert_close(last, expected["5b"])
    for maps, block in zip(found, ("3b", "4b", "4e"), strict=True):
        assert_close(maps, expected[block])
    assert_close(network(images), network.last_linear(expected["5b"].mean((2, 3))))


@pytest.mark.parametrize("size", [(97, 151), (200, 232)])
def test_it_takes_any_size(network, noise, size):
    h, w = map(cells_along, size)
    assert network.forward_features(noise(1, 3, *size)).shape == (1, 1024, h, w)


def cells_along(side):
    """Convolutions and poolings along one side of an image."""
    side = math.ceil(side / 2)
    for _ in range(2):
        side = math.ceil((side - 3) / 2) + 1
    return math.ceil(math.ceil(side / 2) / 2)


def test_the_levels_are_those_of_avsls_code():
    backbone = create_backbone("bninception")
    assert level_widths(backbone) == (576, 1056, 1024)
    shapes = [tuple(m.shape[1:]) for m in level_maps(backbone, torch.zeros(1, 3, 224, 224))]
    assert shapes == [(576, 14, 14), (1056, 7, 7), (1024, 7, 7)]


def test_pixels_arrive_as_caffe_wants_them():
    """Levels of 0 to 255 in the order blue, green, red, less the mean 104, 117, 128."""
    embedder = Embedder.of(from_timm("bninception", pretrained=False), device="cpu")
    color = np.full((224, 224, 3), (200, 20, 90), np.uint8)  # red, green, blue
    entered = []
    stem = embedder.network.backbone.model.conv1_7x7_s2
    handle = stem.register_forward_pre_hook(lambda _, args: entered.append(args[0]))
    embedder.embed([color])
    handle.remove()
    assert_close(entered[-1][0, :, 5, 7], torch.tensor([90.0 - 104, 20 - 117, 200 - 128]), atol=1e-4, rtol=0)


def older(weights):
    """As the first files hold BatchNorm, which did not count batches yet."""
    return {
        name: tensor[None] if "_bn." in name else tensor
        for name, tensor in weights.items()
        if not name.endswith("num_batches_tracked")
    }


@pytest.mark.parametrize("form", [dict, older])
def test_a_published_file_loads_by_its_path(network, tmp_path, noise, form):
    path = tmp_path / "bn_inception-52deb4733.pth"
    torch.save(form(network.state_dict()), path)
    loaded = load_checkpoint(path)
    images = 60 * noise(1, 3, 96, 160)
    assert_close(loaded.network(images), network.forward_features(images).mean((2, 3)))
    assert loaded.preprocessing.std == (1 / 255,) * 3 and loaded.name == path.stem
    assert load_checkpoint(path, pooling="max").network.describe_pooling()["name"] == "max"


def test_weights_that_can_not_be_fetched_are_one_sentence(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(bn_inception, "load_state_dict_from_url", unreachable)
    with pytest.raises(UnknownModelError, match=r"weights: no route to host; if you have .*\.pth, give"):
        create_backbone("bninception", pretrained=True)


def test_fetched_weights_of_another_hash_are_refused(network, monkeypatch, tmp_path):
    source = tmp_path / "bn_inception-52deb4733.pth"
    torch.save(network.state_dict(), source)
    monkeypatch.setattr(bn_inception, "_URL", source.as_uri())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    with pytest.raises(UnknownModelError, match="invalid hash value"):
        create_backbone("bninception", pretrained=True)


def test_fetched_weights_are_turned_to_this_versions_form(network, monkeypatch):
    def fetched(url, **options):
        assert url.endswith("bn_inception-52deb4733.pth") and options["check_hash"]
        return older(network.state_dict())

    monkeypatch.setattr(bn_inception, "load_state_dict_from_url", fetched)
    backbone = create_backbone("bninception", pretrained=True)
    assert torch.equal(backbone.model.inception_5b_3x3_bn.bias, network.inception_5b_3x3_bn.bias)
    assert published_weights(older(network.state_dict())).keys() == network.state_dict().keys()


@pytest.mark.parametrize("pooling", ["own", "avgmax", "gem"])
def test_shares_sum_to_the_embedding(network, noise, pooling):
    loaded = from_timm("bninception", pretrained=False, pooling=pooling, input_size=(96, 160))
    loaded.network.backbone.model.load_state_dict(network.state_dict(), strict=False)
    embedder = Embedder.of(loaded, device="cpu")
    shares = embedder.tensor_shares(60 * noise(1, 3, 96, 160), geometry=None)
    assert shares.grid == (3, 5)
    total = shares.values.sum(0) + shares.residual
    expected = embedder.network(60 * noise(1, 3, 96, 160))[0]
    assert_close(total, expected, rtol=1e-5, atol=1e-5 * float(expected.norm()))


def test_its_blocks_are_layers_and_it_is_saved_like_any_other(network, tmp_path, noise):
    loaded = from_timm("bninception", pretrained=False)
    backbone = loaded.network.backbone
    assert len(layers_of(backbone)) == 10
    save_folder(loaded, tmp_path)
    again = load_folder(tmp_path)
    images = noise(1, 3, 64, 96)
    assert_close(again.network(images), loaded.network(images))
    assert again.network.backbone.to("cpu") is again.network.backbone
    assert all(p is q for p, q in zip(
        backbone.model.stages[0].branches[0][0].parameters(),
        backbone.model.inception_3a_1x1.parameters(), strict=True,
    ))  # fmt: skip
