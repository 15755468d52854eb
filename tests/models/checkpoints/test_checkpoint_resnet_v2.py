import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lookalike.errors import CheckpointError
from lookalike.models.checkpoints import load_checkpoint
from lookalike.models.embedder import Embedder
from lookalike.ops.attribution import similarity_maps
from made_checkpoints import made_weights, shapes_of


@pytest.fixture(scope="module")
def golden(goldens, tmp_path_factory):
    metrics = np.load(goldens / "xformer_resnetv2.npz")
    path = tmp_path_factory.mktemp("resnet") / "r50.pth"
    weights = made_weights(json.loads(str(metrics["keys"])), int(metrics["weight_seed"]))
    torch.save({f"module.{name}": tensor for name, tensor in weights.items()}, path)
    return metrics, Embedder.load(path, input_size=(128, 128), device="cpu", precision="fp32")


def test_the_made_weights_have_the_published_names(goldens):
    shapes = json.loads(str(np.load(goldens / "xformer_resnetv2.npz")["keys"]))
    assert {name: tuple(shape) for name, shape in shapes.items()} == shapes_of((3, 4, 6, 3), 64, output=32)


@pytest.mark.parametrize("side", ["a", "b"])
def test_inputs_features_and_embeddings_are_those_of_the_published_code(golden, goldens, side):
    metrics, model = golden
    picture = goldens / f"image_{side}.png"
    assert_close(model.tensor(picture)[0].numpy(), metrics[f"input_{side}"], rtol=0, atol=1e-6)
    expected = torch.from_numpy(metrics[f"embedding_{side}"]).flatten()
    # Fifty standardized convolutions: their float32 order of summation shows in the sixth digit.
    assert_close(model.embed([picture])[0], expected / expected.norm(), rtol=0, atol=2e-5)
    shares = model.shares(picture)
    features = torch.from_numpy(metrics[f"prepooled_{side}"][0])
    assert shares.grid == (4, 4)
    assert_close(16 * shares.values, features, rtol=0, atol=5e-5 * float(features.abs().max()))


def test_maps_and_score_are_those_of_the_published_code(golden, goldens):
    metrics, model = golden
    shares = {side: model.shares(goldens / f"image_{side}.png") for side in "ab"}
    for side, other in ("ab", "ba"):
        match = torch.nn.functional.normalize(shares[other].total, dim=0)
        share_map = similarity_maps(shares[side].values, shares[side].residual, match[None])[0]
        expected = torch.from_numpy(metrics[f"map_{side}"]).float()
        assert_close(share_map.view(4, 4), expected, rtol=1e-4, atol=0)
        assert_close(float(share_map.sum()), float(metrics["score"]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("units", "base", "architecture"),
    [
        ((3, 4, 6, 3), 32, "resnetv2_50x1_bit"),
        ((3, 4, 23, 3), 32, "resnetv2_101x1_bit"),
        ((3, 8, 36, 3), 32, "resnetv2_152x2_bit"),
        ((1, 3, 2, 1), 32, "bit_resnet_v2"),
        ((2, 2, 2, 2), 64, "bit_resnet_v2"),
    ],
)
def test_depth_and_width_come_from_the_tensors(tmp_path, pictures, units, base, architecture):
    torch.save(made_weights(shapes_of(units, base), 3), tmp_path / "made.pth")
    model = Embedder.load(tmp_path / "made.pth", input_size=(64, 96), device="cpu", precision="fp32")
    network = model.network.backbone.model
    assert model.network.backbone.architecture == architecture
    assert tuple(len(stage.blocks) for stage in network.stages) == units
    assert network.stem.conv.out_channels == base and network.num_features == 32 * base
    assert model.embed(pictures[:1]).shape == (1, 32 * base)


@pytest.mark.parametrize("units", [(3, 4, 6, 3), (1, 2, 1, 3)])
def test_the_network_comes_back_from_a_saved_folder(tmp_path, pictures, units):
    torch.save(made_weights(shapes_of(units, 32, output=5), 3), tmp_path / "made.pth")
    model = Embedder.load(tmp_path / "made.pth", input_size=(64, 96), device="cpu", precision="fp32")
    model.save(tmp_path / "folder")
    again = Embedder.load(tmp_path / "folder", device="cpu", precision="fp32")
    assert {module.eps for module in again.network.modules() if type(module).__name__ == "StdConv2d"} == {
        1e-10
    }
    assert_close(again.embed(pictures), model.embed(pictures))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"root.gn.weight": (32,)}, r"root.gn.weight \(32,\) is no part of the layout"),
        ({"body.block4.unit04.conv3.weight": (1024, 256, 1, 1)}, r"8 of \d+ tensors are missing"),
        ({"body.block5.unit01.conv3.weight": (64, 32, 1, 1)}, r"\(3, 4, 6, 3, 1\) units in its blocks"),
        ({"body.block4.unit03.conv3.weight": (1024, 99, 1, 1)}, "1 have another size"),
        ({"head.gn.bias": None}, r"1 of \d+ tensors are missing"),
        ({"head.conv.weight": (5, 1024, 3, 3)}, r"head.conv.weight is \(5, 1024, 3, 3\)"),
    ],
)
def test_strange_missing_and_odd_tensors_are_refused(tmp_path, change, match):
    shapes = shapes_of((3, 4, 6, 3), 32, output=5) | change
    torch.save(
        {name: torch.zeros(shape) for name, shape in shapes.items() if shape is not None},
        tmp_path / "odd.pth",
    )
    with pytest.raises(CheckpointError, match=match):
        load_checkpoint(tmp_path / "odd.pth")
