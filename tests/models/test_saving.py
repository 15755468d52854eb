import json

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.testing import assert_close

from lookalike.errors import CheckpointError, LookalikeError
from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder
from lookalike.models.network import EmbeddingNetwork, assemble
from lookalike.models.poolings import GemPooling, LocalHeadPooling, MaxPooling, RegionalPooling
from lookalike.models.saving import CONFIG_FILE, WEIGHTS_FILE, load_folder
from made_heads import HEADS, linear

SIZE = (64, 96)
TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3}
WIDTH = 24


@pytest.fixture(scope="module")
def backbone(tiny_backbone):
    return tiny_backbone("vit_tiny_patch16_224", SIZE, **TINY)


POOLINGS = {
    **{name: name for name in ["own", "cls", "mean", "max", "gem", "avgmax", "rmac"]},
    "GeM per channel": lambda: GemPooling(torch.linspace(1, 5, WIDTH)),
    "regional": lambda: RegionalPooling(MaxPooling(), None),
    "regional, whitened": lambda: RegionalPooling(GemPooling(2.0), linear(WIDTH, 6)),
    "regional, no bias": lambda: RegionalPooling(GemPooling(2.0), linear(WIDTH, 6, bias=False)),
    "local": lambda: LocalHeadPooling(linear(WIDTH, 6), GemPooling(2.0)),
}


def embedder_of(backbone, pooling="own", head=None, **options):
    preprocessing = Preprocessing("letterbox", SIZE, crop_pct=0.9, mean=(0.1, 0.2, 0.3))
    if callable(pooling):
        network = EmbeddingNetwork(backbone, pooling(), head)
    else:
        network = assemble(backbone, {"name": pooling}, head, preprocessing)
    return Embedder(network, preprocessing, name="tiny", precision="fp32", device="cpu", **options)


def assert_same(loaded, saved, pictures):
    assert_close(loaded.embed(pictures[:2]), saved.embed(pictures[:2]), rtol=0, atol=0)
    assert loaded.fingerprint() == saved.fingerprint()
    assert loaded.preprocessing == saved.preprocessing


@pytest.mark.parametrize("name", POOLINGS)
def test_every_pooling_comes_back(name, backbone, pictures, tmp_path):
    saved = embedder_of(backbone, POOLINGS[name])
    saved.save(tmp_path)
    assert_same(Embedder.load(tmp_path, precision="fp32", device="cpu"), saved, pictures)


@pytest.mark.parametrize("name", HEADS)
def test_every_head_comes_back(name, backbone, pictures, tmp_path):
    saved = embedder_of(backbone, "mean", HEADS[name](WIDTH))
    saved.save(tmp_path)
    assert_same(Embedder.load(tmp_path, precision="fp32", device="cpu"), saved, pictures)


def test_scales_come_back(tiny_backbone, pictures, tmp_path):
    saved = embedder_of(tiny_backbone("test_resnet"), "gem", scales=(1.0, 0.7), scale_power=2.0)
    saved.save(tmp_path)
    loaded = Embedder.load(tmp_path, precision="fp32", device="cpu")
    assert (loaded.scales, loaded.scale_power) == ((1.0, 0.7), 2.0)
    assert_same(loaded, saved, pictures)


def test_half_precision_is_half_the_size_and_embeds_nearly_alike(tiny_backbone, pictures, tmp_path):
    saved = embedder_of(tiny_backbone("test_resnet"))
    saved.save(tmp_path / "full")
    saved.save(tmp_path / "half", half=True)
    sizes = [(tmp_path / name / WEIGHTS_FILE).stat().st_size for name in ("half", "full")]
    assert sizes[0] < 0.6 * sizes[1]
    loaded = Embedder.load(tmp_path / "half", precision="fp32", device="cpu")
    assert (loaded.embed(pictures) * saved.embed(pictures)).sum(1).min() > 0.9999


def test_large_statistics_survive_half_precision(tiny_backbone, tmp_path):
    saved = embedder_of(tiny_backbone("test_resnet"), "mean")
    variances = {n: b for n, b in saved.network.backbone.model.named_buffers() if n.endswith("running_var")}
    name, variance = next(iter(variances.items()))
    variance.fill_(1e6)  # beyond fp16
    saved.save(tmp_path, half=True)
    assert load_file(tmp_path / WEIGHTS_FILE)[f"backbone.{name}"].max() == 1e6


def test_weights_that_half_precision_can_not_hold_are_refused(tiny_backbone, tmp_path):
    saved = embedder_of(tiny_backbone("test_resnet"), "mean")
    saved.network.backbone.model.conv1[0].weight.fill_(1e6)
    with pytest.raises(ValueError, match=r"backbone\.conv1\.0\.weight has values that .*float16 can't hold"):
        saved.save(tmp_path, half=True)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused_without_advice_on_precision(tiny_backbone, tmp_path, value):
    saved = embedder_of(tiny_backbone("test_resnet"), "mean")
    saved.network.backbone.model.conv1[0].weight.fill_(value)
    with pytest.raises(ValueError, match="has values that are NaN or infinite; repair the weights"):
        saved.save(tmp_path)


def test_a_layer_that_can_not_be_saved_leaves_no_folder(backbone, tmp_path):
    saved = embedder_of(backbone, "mean", nn.Sequential(nn.Softmax(dim=1)))
    with pytest.raises(ValueError, match="a saved head holds"):
        saved.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_folder_that_can_not_be_made_is_named(backbone, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LookalikeError, match=r"can't be saved to .*file"):
        embedder_of(backbone).save(tmp_path / "file")


# --- folders from strangers -------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(tiny_backbone, tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    embedder_of(tiny_backbone("test_resnet"), "gem", HEADS["none"](0)).save(folder)
    return folder


def without(config, key):
    return {k: v for k, v in config.items() if k != key}


HOSTILE = {
    "no format": (lambda c: without(c, "format"), "'format' is missing"),
    "no backbone": (lambda c: without(c, "backbone"), "'backbone' is missing"),
    "no preprocessing": (lambda c: without(c, "preprocessing"), "'preprocessing' is missing"),
    "no pooling": (lambda c: without(c, "pooling"), "'pooling' is missing"),
    "no head": (lambda c: without(c, "head"), "'head' is missing"),
    "no name": (lambda c: without(c, "name"), "'name' is missing"),
    "a later format": (lambda c: c | {"format": 2}, "has format 2; this version reads format 1"),
    "a list": (lambda c: [c], "no saved embedder"),
    "a number": (lambda c: 3, "no saved embedder"),
    "text for pooling": (lambda c: c | {"pooling": "mean"}, "no saved embedder"),
    "an unknown pooling": (lambda c: c | {"pooling": {"name": "median"}}, "got 'median'"),
    "a whitening without weights": (
        lambda c: c | {"pooling": {"name": "local", "inner": {"name": "mean"}}},
        "'layer.weight' is missing",
    ),
    "a head of numbers": (lambda c: c | {"head": [1]}, "no saved embedder"),
    "a head without weights": (lambda c: c | {"head": [{"layer": "affine"}]}, "'0.weight' is missing"),
    "an unknown layer": (lambda c: c | {"head": [{"layer": "exec"}]}, "got 'exec'"),
    "an unknown architecture": (
        lambda c: c | {"backbone": {"architecture": "resnet_x", "kwargs": {}}},
        "no model is called 'resnet_x'",
    ),
    "another architecture": (
        lambda c: c | {"backbone": {"architecture": "test_efficientnet", "kwargs": {}}},
        "the weights are not those of test_efficientnet",
    ),
    "a pickle to load": (
        lambda c: c | {"backbone": {"architecture": "test_resnet", "kwargs": {"checkpoint_path": "/x.pth"}}},
        "needs no other files",
    ),
    "a download": (
        lambda c: c | {"backbone": {"architecture": "hf-hub:evil/model", "kwargs": {}}},
        "needs no other files",
    ),
    "an odd option": (
        lambda c: c | {"backbone": {"architecture": "test_resnet", "kwargs": {"color": 1}}},
        "could not be made",
    ),
    "a huge input": (
        lambda c: c | {"preprocessing": {"mode": "squash", "input_size": [10**6, 10**6]}},
        "input_size",
    ),
    "huge scales": (lambda c: c | {"scales": [1e9]}, "scales are numbers above 0"),
    "no scales": (lambda c: c | {"scales": []}, "scales are numbers above 0"),
    "a power of text": (lambda c: c | {"scale_power": "three"}, "no saved embedder"),
    "a power of zero": (lambda c: c | {"scale_power": 0}, "scale_power is a number above 0"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_config_is_refused_in_one_sentence(name, good, tmp_path):
    change, message = HOSTILE[name]
    config = json.loads((good / CONFIG_FILE).read_text())
    (tmp_path / CONFIG_FILE).write_text(json.dumps(change(config)))
    (tmp_path / WEIGHTS_FILE).write_bytes((good / WEIGHTS_FILE).read_bytes())
    with pytest.raises(CheckpointError) as caught:
        load_folder(tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\ufeff{}", "null"])
def test_broken_json_is_refused(text, good, tmp_path):
    (tmp_path / CONFIG_FILE).write_text(text, encoding="utf-8")
    (tmp_path / WEIGHTS_FILE).write_bytes((good / WEIGHTS_FILE).read_bytes())
    with pytest.raises(CheckpointError, match="no saved embedder"):
        load_folder(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / CONFIG_FILE).write_bytes(b"\xff\xfe\x00\xff")
    with pytest.raises(CheckpointError, match="no saved embedder"):
        load_folder(tmp_path)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no saved embedder.*config\.json"):
        load_folder(tmp_path)


@pytest.mark.parametrize("content", [None, b"", b"\x00" * 100, b"\xff" * 8 + b"{}"])
def test_missing_or_broken_weights_are_refused(content, good, tmp_path):
    (tmp_path / CONFIG_FILE).write_bytes((good / CONFIG_FILE).read_bytes())
    if content is not None:
        (tmp_path / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_folder(tmp_path)


def test_truncated_weights_are_refused(good, tmp_path):
    (tmp_path / CONFIG_FILE).write_bytes((good / CONFIG_FILE).read_bytes())
    (tmp_path / WEIGHTS_FILE).write_bytes((good / WEIGHTS_FILE).read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"no safetensors file"):
        load_folder(tmp_path)
