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
    trunk, embedder, collector = parts
    if wrapped:  # their code wraps the trunk in DataParallel
        trunk = {f"module.{name}": tensor for name, tensor in trunk.items()}
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
    inception = {"conv1_7x7_s2.weight": torch.zeros(64, 3, 7, 7)}
    torch.save({"trunk": inception, "embedder": embedder, "collector": collector}, tmp_path / "bn.pth")
    with pytest.raises(CheckpointError, match="BN-Inception"):
        load_checkpoint(tmp_path / "bn.pth")
