"""The layout of the published AVSL checkpoints, with made weights under its names."""

import pytest
import torch
from torch.testing import assert_close

from lookalike.errors import CheckpointError
from lookalike.models.avsl import AvslModel
from lookalike.models.checkpoints import load_checkpoint
from lookalike.models.embedder import Embedder
from lookalike.ops.avsl import sparse_links

WIDTH, CHANNELS = 20, (512, 1024, 2048)


@pytest.fixture(scope="module")
def parts():
    """Trunk (torchvision's ResNet-50), embedder and collector as their code names them."""
    from lookalike.models.backbones import create_backbone

    with torch.random.fork_rng():
        torch.manual_seed(5)
        resnet = create_backbone("resnet50").model.state_dict()
    generator = torch.Generator().manual_seed(6)
    trunk = {f"model.{name}": tensor for name, tensor in resnet.items()}
    trunk |= {"model.fc.weight": torch.zeros(1000, 2048), "model.fc.bias": torch.zeros(1000)}
    embedder, collector = {}, {"proxy_labels": torch.arange(4)}
    for i, channels in enumerate(CHANNELS):
        embedder[f"conv1x1_{i}.weight"] = torch.randn(WIDTH, channels, 1, 1, generator=generator)
        embedder[f"conv1x1_{i}.bias"] = torch.randn(WIDTH, generator=generator)
        collector[f"proxy_{i}"] = torch.randn(4, WIDTH, generator=generator)
        collector[f"prob_coef_{i}"] = torch.randn(WIDTH, generator=generator)
        collector[f"prob_bias_{i}"] = torch.randn(WIDTH, generator=generator)
    for i in range(2):
        collector[f"link_{i}to{i + 1}"] = torch.randn(WIDTH, WIDTH, generator=generator)
    return trunk, embedder, collector


def write_three(folder, parts, wrapped=False):
    """As their code does: each network inside a wrapper, the trunk on several GPUs inside another."""
    trunk, embedder, collector = parts
    outer = "module." * wrapped
    trunk = {f"{outer}base_model.{name}": tensor for name, tensor in trunk.items()}
    embedder = {f"base_model.{name}": tensor for name, tensor in embedder.items()}
    torch.save(trunk, folder / "models_trunk_best.ckpt")
    torch.save(embedder, folder / "models_embedder_best.ckpt")
    torch.save(collector, folder / "collectors_collector_best.ckpt")


def check(loaded, parts):
    trunk, embedder, collector = parts
    model = AvslModel(Embedder.of(loaded, device="cpu", precision="fp32"))
    assert_close(model.network.backbone.model.layer3[0].conv2.weight, trunk["model.layer3.0.conv2.weight"])
    for i in range(3):
        assert_close(model.network.projections[i].weight, embedder[f"conv1x1_{i}.weight"].flatten(1))
        assert_close(model.graph.biases[i].detach(), collector[f"prob_bias_{i}"])
        assert_close(model.graph.coefficients[i].detach(), collector[f"prob_coef_{i}"])
    for i in range(2):
        assert_close(model.graph.links[i], sparse_links(collector[f"link_{i}to{i + 1}"], 128))
    assert loaded.preprocessing.resize_target == (256, 256)
    assert int(model.network.gates.n_updates) == 1  # so that training goes on from these links


@pytest.mark.parametrize("named", ["models_trunk", "models_embedder", "collectors_collector"])
def test_three_files_load_by_any_of_them(named, parts, tmp_path):
    write_three(tmp_path, parts, wrapped=named == "models_trunk")
    check(load_checkpoint(tmp_path / f"{named}_best.ckpt"), parts)


def test_one_file_with_three_state_dicts_loads(parts, tmp_path):
    names = ("trunk", "embedder", "collector")
    torch.save(dict(zip(names, parts, strict=True)), tmp_path / "cub.pth")
    check(load_checkpoint(tmp_path / "cub.pth"), parts)


def test_missing_and_odd_parts_are_named(parts, tmp_path):
    trunk, embedder, collector = parts
    write_three(tmp_path, parts)
    (tmp_path / "models_embedder_best.ckpt").unlink()
    with pytest.raises(CheckpointError, match=r"there is no models_embedder_best\.ckpt"):
        load_checkpoint(tmp_path / "models_trunk_best.ckpt")
    torch.save(collector, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="one of three files"):
        load_checkpoint(tmp_path / "other.pth")
    torch.save({"trunk": trunk, "embedder": embedder}, tmp_path / "two.pth")
    with pytest.raises(CheckpointError, match="has no collector"):
        load_checkpoint(tmp_path / "two.pth")
    wrong = {**collector, "link_0to1": torch.zeros(3, 3)}
    torch.save({"trunk": trunk, "embedder": embedder, "collector": wrong}, tmp_path / "wrong.pth")
    with pytest.raises(CheckpointError, match=r"link_0to1 \(20, 20\), found \(3, 3\)"):
        load_checkpoint(tmp_path / "wrong.pth")


@pytest.fixture(scope="module")
def inception(parts):
    """A trunk on BN-Inception, with an embedder for its levels and the same collector."""
    from lookalike.models.backbones import create_backbone

    with torch.random.fork_rng():
        torch.manual_seed(8)
        trunk = create_backbone("bninception").model.state_dict()
    embedder = {}
    for i, channels in enumerate((576, 1056, 1024)):
        embedder[f"conv1x1_{i}.weight"] = torch.randn(WIDTH, channels, 1, 1)
        embedder[f"conv1x1_{i}.bias"] = torch.zeros(WIDTH)
    return trunk, embedder, parts[2]


def test_a_bn_inception_trunk_loads_with_its_own_preprocessing(inception, tmp_path):
    write_three(tmp_path, inception)
    loaded = load_checkpoint(tmp_path / "models_trunk_best.ckpt")
    model = AvslModel(Embedder.of(loaded, device="cpu"))
    assert [p.in_features for p in model.network.layers] == [576, 1056, 1024]
    weights = loaded.network.backbone.model.state_dict()
    assert all(torch.equal(tensor, inception[0][name]) for name, tensor in weights.items())
    assert loaded.preprocessing.std == (1 / 255,) * 3
    assert loaded.preprocessing.resize_target == (256, 256)


@pytest.mark.parametrize("joined", [True, False])
def test_a_baseline_is_one_layer_on_average_plus_maximum(parts, tmp_path, joined, noise):
    layer = {"net.0.weight": noise(WIDTH, 2048), "net.0.bias": noise(WIDTH, seed=1)}
    layer |= {"last_linear.weight": layer["net.0.weight"], "last_linear.bias": layer["net.0.bias"]}
    if joined:
        torch.save({"trunk": parts[0], "embedder": layer}, tmp_path / "m.pth")
        loaded = load_checkpoint(tmp_path / "m.pth")
    else:
        write_three(tmp_path, (parts[0], layer, {"proxies": noise(4, WIDTH)}))
        (tmp_path / "collectors_collector_best.ckpt").unlink()
        loaded = load_checkpoint(tmp_path / "models_embedder_best.ckpt")
    images = noise(1, 3, 64, 96)
    with torch.no_grad():
        maps = loaded.network.backbone.model.forward_features(images)
        pooled = maps.mean((2, 3)) + maps.amax((2, 3))
        expected = pooled @ layer["net.0.weight"].T + layer["net.0.bias"]
        assert_close(loaded.network(images), expected)
