"""The published maps through the public door: checkpoint and pictures in, `--save-maps` out."""

import json

import numpy as np
import pytest
import torch
from numpy.random import PCG64, Generator
from typer.testing import CliRunner

from lookalike.cli import app
from lookalike.models.embedder import Embedder

ON_MAPS, ON_SIMILARITY = 1e-4, 1e-5  # largest relative errors


def maps_of(tmp_path, goldens, *options):
    """What `lookalike explain image_a.png image_b.png ... --save-maps` writes."""
    path = tmp_path / "maps.npz"
    images = [str(goldens / f"image_{side}.png") for side in "ab"]
    result = CliRunner().invoke(app, ["explain", *images, *map(str, options), "--save-maps", str(path)])
    assert result.exit_code == 0, result.output
    return arrays_of(path)


def arrays_of(path):
    with np.load(path) as file:
        return dict(file)


def relative_error(ours, published):
    return np.abs(ours - published).max() / np.abs(published).max()


@pytest.mark.weights
@pytest.mark.parametrize("name", ["xformer_vit_p16_mean", "xformer_vit_p32_mean"])
def test_rollout_maps_of_the_published_transformer(name, tmp_path, goldens, shared):
    checkpoint = shared / "goldens" / f"{name}.pth"
    maps = maps_of(tmp_path, goldens, "--model", checkpoint, "--method", "rollout")
    golden = arrays_of(goldens / f"{name}.npz")
    assert relative_error(maps["query_map"], golden["map_a"]) < ON_MAPS
    assert relative_error(maps["match_map"], golden["map_b"]) < ON_MAPS
    assert maps["similarity"] == pytest.approx(float(golden["score"]), rel=ON_SIMILARITY)


@pytest.mark.weights
@pytest.mark.parametrize(("options", "rollout"), [
    (("--fusion", "min"), "rollout_min"),
    (("--fusion", "max"), "rollout_max"),
    (("--first-layer", "1"), "rollout_from1"),
])  # fmt: skip
def test_rollout_options_of_the_published_transformer(options, rollout, tmp_path, goldens, shared):
    """The published rollout matrix applied to the plain map must be what the option gives."""
    checkpoint = shared / "goldens" / "xformer_vit_p16_mean.pth"
    golden = arrays_of(goldens / "xformer_vit_p16_mean.npz")
    plain = maps_of(tmp_path, goldens, "--model", checkpoint)["query_map"].flatten()
    ours = maps_of(tmp_path, goldens, "--model", checkpoint, "--method", "rollout", *options)["query_map"]
    assert relative_error(ours.flatten(), golden[f"{rollout}_a"] @ plain) < ON_MAPS


@pytest.mark.weights
def test_the_cls_embedding_of_the_published_transformer(tmp_path, goldens, shared):
    checkpoint = shared / "goldens" / "xformer_vit_p16_cls.pth"
    maps = maps_of(tmp_path, goldens, "--model", checkpoint)  # the file name says which token it means
    golden = arrays_of(goldens / "xformer_vit_p16_cls.npz")
    a, b = (golden[f"embedding_{side}"][0].astype(np.float64) for side in "ab")
    expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert maps["similarity"] == pytest.approx(expected, rel=ON_SIMILARITY)


def test_maps_of_the_published_resnet(tmp_path, goldens):
    """Weights by the recipe that the golden states: one generator, keys in sorted order."""
    golden = arrays_of(goldens / "xformer_resnetv2.npz")
    torch.save(made_weights(golden), tmp_path / "resnetv2.pth")
    maps = maps_of(tmp_path, goldens, "--model", tmp_path / "resnetv2.pth", "--input-size", "128")
    assert relative_error(maps["query_map"], golden["map_a"]) < ON_MAPS
    assert relative_error(maps["match_map"], golden["map_b"]) < ON_MAPS
    assert maps["similarity"] == pytest.approx(float(golden["score"]), rel=ON_SIMILARITY)


def test_a_saved_published_network_keeps_its_maps_and_galleries(tmp_path, goldens):
    golden = arrays_of(goldens / "xformer_resnetv2.npz")
    torch.save(made_weights(golden), tmp_path / "resnetv2.pth")
    published = Embedder.load(tmp_path / "resnetv2.pth", input_size=(128, 128), device="cpu")
    published.save(tmp_path / "saved")
    again = Embedder.load(tmp_path / "saved", device="cpu")
    assert again.fingerprint() == published.fingerprint()
    maps = maps_of(tmp_path, goldens, "--model", tmp_path / "saved")
    assert relative_error(maps["query_map"], golden["map_a"]) < ON_MAPS


def made_weights(golden):
    generator = Generator(PCG64(int(golden["weight_seed"])))
    weights = {}
    for key, shape in sorted(json.loads(str(golden["keys"])).items()):
        noise = generator.standard_normal(shape).astype(np.float32)
        if len(shape) >= 2:
            value = noise * np.float32((1 / np.prod(shape[1:])) ** 0.5)
        else:
            value = 1 + 0.1 * noise if key.endswith("weight") else 0.1 * noise
        weights[key] = torch.from_numpy(value.astype(np.float32))
    return weights


@pytest.mark.parametrize("statistics", ["moving", "pair"])
@pytest.mark.parametrize("pooling", ["mean", None])
def test_the_demo_of_2019_on_tf_slim(pooling, statistics, tmp_path, shared):
    folder = shared / "goldens" / "slim_resnet_v2"
    golden = arrays_of(folder / "golden.npz")
    asked = ["--model", folder / "hotels", "--mean-image", folder / "mean_image.npy"]
    asked += [*(["--pooling", pooling] if pooling else [])]
    asked += [*(["--batch-statistics", "pair"] if statistics == "pair" else [])]
    maps = maps_of(tmp_path, folder, *asked)
    name = "pooled_similarity" if pooling else "logits_similarity"
    expected = float(golden[f"{statistics}_statistics/{name}"])
    assert maps["similarity"] == pytest.approx(expected, abs=1e-5)
    assert maps["query_map"].sum() + maps["residual"] == pytest.approx(expected, abs=1e-5)
    if pooling:
        for side, ours in zip("ab", ("query_map", "match_map"), strict=True):
            assert relative_error(maps[ours], golden[f"{statistics}_statistics/map_{side}"]) < 1e-4
