"""TF-slim's ResNetV2 from its checkpoints: a plain version of the network, sizes, mean image, statistics."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from typer.testing import CliRunner

import lookalike
from lookalike.cli import app
from lookalike.errors import CheckpointError, UnsupportedMethodError
from lookalike.images.opencv_resize import opencv_resize
from lookalike.models.embedder import Embedder
from made_tensorflow import slim_tensors, write_bundle, write_single


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A checkpoint, its mean image and two pictures of odd sizes."""
    folder = tmp_path_factory.mktemp("slim")
    rng = np.random.default_rng(1)
    write_bundle(folder / "hotels", slim_tensors())
    np.save(folder / "mean.npy", rng.uniform(90, 130, (224, 224, 3)).astype(np.float32))
    for name, size in (("a", (181, 250)), ("b", (301, 217))):
        coarse = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).save(folder / f"{name}.png")
    return folder


def plain_network(tensors, images, *, training):
    """TF-slim's ResNetV2 written down step by step: (B, 3, H, W) BGR less the mean to its last map."""
    scope = "resnet_v2_50"

    def tensor(name):
        return torch.from_numpy(tensors[f"{scope}/{name}"])

    def norm(x, name):
        mean, variance = tensor(f"{name}/moving_mean"), tensor(f"{name}/moving_variance")
        if training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
        x = (x - mean[:, None, None]) / (variance[:, None, None] + 1e-5).sqrt()
        return F.relu(x * tensor(f"{name}/gamma")[:, None, None] + tensor(f"{name}/beta")[:, None, None])

    def convolution(x, name, stride=1):
        weight = tensor(f"{name}/weights").permute(3, 2, 0, 1)
        bias = tensor(f"{name}/biases") if f"{scope}/{name}/biases" in tensors else None
        return F.conv2d(x, weight, bias, stride, weight.shape[2] // 2)

    x = convolution(images, "conv1", 2)
    assert x.shape[2] % 2 == x.shape[3] % 2 == 0
    x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2)
    n_units = {b: len({k.split("/")[2] for k in tensors if f"/block{b}/" in k}) for b in (1, 2, 3)}
    for b, n in n_units.items():
        for u in range(1, n + 1):
            name, stride = f"block{b}/unit_{u}/bottleneck_v2", 2 if u == n and b < 3 else 1
            active = norm(x, f"{name}/preact")
            if f"{scope}/{name}/shortcut/weights" in tensors:
                shortcut = convolution(active, f"{name}/shortcut", 1)[:, :, ::stride, ::stride]
            else:
                shortcut = x[:, :, ::stride, ::stride]
            y = norm(convolution(active, f"{name}/conv1"), f"{name}/conv1/BatchNorm")
            y = norm(convolution(y, f"{name}/conv2", stride), f"{name}/conv2/BatchNorm")
            x = shortcut + convolution(y, f"{name}/conv3")
    return norm(x, "postnorm")


def plain_input(files):
    mean = np.load(files / "mean.npy")
    pixels = [np.asarray(Image.open(files / f"{name}.png").convert("RGB")) for name in "ab"]
    levels = np.stack(
        [opencv_resize(each, (224, 224))[..., ::-1].astype(np.float32) - mean for each in pixels]
    )
    return torch.from_numpy(levels).permute(0, 3, 1, 2)


def published_map(own, other):
    """Of the pooled last maps (C, h, w): each cell's part of the cosine."""
    a, b = own.mean((1, 2)), other.mean((1, 2))
    return torch.einsum("chw,c->hw", own, b) / (own[0].numel() * a.norm() * b.norm())


@pytest.mark.parametrize("statistics", [None, "pair"])
def test_maps_and_similarities_are_those_of_the_plain_network_through_the_command(files, statistics):
    last = plain_network(slim_tensors(), plain_input(files), training=statistics == "pair")
    asked = [
        "explain",
        files / "a.png",
        files / "b.png",
        "--model",
        files / "hotels",
        "--mean-image",
        files / "mean.npy",
        "--json",
    ]
    asked += ["--batch-statistics", "pair"] if statistics else []
    for pooling in (None, "mean"):
        result = CliRunner().invoke(app, [*map(str, asked), *(["--pooling", pooling] if pooling else [])])
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        pooled = last.mean((2, 3))
        if pooling is None:
            tensors = slim_tensors()
            pooled = pooled @ torch.from_numpy(tensors["resnet_v2_50/logits/weights"][0, 0])
            pooled = pooled + torch.from_numpy(tensors["resnet_v2_50/logits/biases"])
        similarity = float(F.cosine_similarity(pooled[:1], pooled[1:]))
        assert found["similarity"] == pytest.approx(similarity, abs=1e-5)
        assert sum(map(sum, found["query_map"])) + found["residual"] == pytest.approx(similarity, abs=1e-5)
        if pooling == "mean":
            np.testing.assert_allclose(found["query_map"], published_map(last[0], last[1]), atol=1e-5)
            np.testing.assert_allclose(found["match_map"], published_map(last[1], last[0]), atol=1e-5)


def test_both_forms_and_a_saved_folder_are_the_same_network(files, tmp_path):
    write_single(tmp_path / "old.ckpt", slim_tensors())
    options = {"mean_image": files / "mean.npy"}
    new = Embedder.load(files / "hotels.index", **options)
    old = Embedder.load(tmp_path / "old.ckpt", **options)
    new.save(tmp_path / "saved")
    saved = Embedder.load(tmp_path / "saved")
    pictures = [files / "a.png", files / "b.png"]
    assert new.width == 5
    torch.testing.assert_close(old.embed(pictures), new.embed(pictures), rtol=0, atol=0)
    torch.testing.assert_close(saved.embed(pictures), new.embed(pictures), rtol=0, atol=0)


@pytest.mark.parametrize(
    "sizes",
    [
        {"units": (2, 1), "inner": (3, 5), "outer": (9, 9), "n_outputs": 64},
        {"units": (1, 1, 2, 1), "inner": (4, 4, 6, 8), "outer": (16, 16, 24, 32), "stem": 16, "seed": 3},
    ],
)
def test_sizes_are_read_off_the_tensors(files, tmp_path, sizes):
    write_bundle(tmp_path / "net", slim_tensors(**sizes))
    embedder = Embedder.load(tmp_path / "net", mean_image=files / "mean.npy")
    assert embedder.width == sizes.get("n_outputs", 5)
    why = lookalike.explain(files / "a.png", files / "b.png", model=embedder)
    assert why.query_map.sum() + why.residual == pytest.approx(why.similarity, abs=1e-5)


def test_the_mean_image_must_be_given_and_fit(files, tmp_path, mini):
    with pytest.raises(CheckpointError, match="--mean-image"):
        Embedder.load(files / "hotels")
    np.save(tmp_path / "small.npy", np.zeros((10, 10, 3), np.float32))
    with pytest.raises(CheckpointError, match=r"has shape \(224, 224, 3\)"):
        Embedder.load(files / "hotels", mean_image=tmp_path / "small.npy")
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(CheckpointError, match="can't be read as a mean image"):
        Embedder.load(files / "hotels", mean_image=tmp_path / "text.npy")
    with pytest.raises(CheckpointError, match="takes no mean image"):
        Embedder.load("mini", mean_image=files / "mean.npy")


def test_batch_statistics_need_batch_norm(files):
    vit = Embedder.from_timm("vit_tiny_patch16_224", pretrained=False, img_size=64)
    with pytest.raises(UnsupportedMethodError, match="has no BatchNorm"):
        vit.with_batch_statistics([files / "a.png"])


def test_a_tensor_of_another_network_is_named(files, tmp_path):
    write_bundle(
        tmp_path / "net", {**slim_tensors(), "resnet_v2_50/block1/unit_1/extra": np.zeros(3, np.float32)}
    )
    with pytest.raises(CheckpointError, match="block1/unit_1/extra is no part of the layout"):
        Embedder.load(tmp_path / "net", mean_image=files / "mean.npy")


def test_what_an_optimizer_left_in_the_file_is_no_part_of_the_network(files, tmp_path):
    left = {
        "resnet_v2_50/conv1/weights/Momentum": np.zeros((7, 7, 3, 8), np.float32),
        "global_step": np.array(9),
    }
    write_bundle(tmp_path / "net", {**slim_tensors(), **left})
    assert Embedder.load(tmp_path / "net", mean_image=files / "mean.npy").width == 5
