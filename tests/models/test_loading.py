import json
import os
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from lookalike.errors import CheckpointError, LookalikeError, UnknownModelError
from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder
from lookalike.models.loading import (
    RECOMMENDED,
    from_timm,
    list_models,
    load_model,
    parse_normalization,
    split_output,
)
from lookalike.models.network import assemble
from lookalike.models.saving import save_folder

OPTIONS = {"precision": "fp32", "device": "cpu"}
REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An offline hub with nothing in its cache; returns a maker of cached repositories."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    def repository(name):
        root = tmp_path / f"models--{name.replace('/', '--')}"
        (root / "refs").mkdir(parents=True)
        (root / "refs" / "main").write_text(REVISION)
        snapshot = root / "snapshots" / REVISION
        snapshot.mkdir(parents=True)
        return snapshot

    return repository


@pytest.fixture(scope="module")
def saved(tiny_backbone, tmp_path_factory):
    """An embedder and the folder that it was saved to."""
    preprocessing = Preprocessing("squash", (64, 96))
    network = assemble(tiny_backbone("test_resnet"), {"name": "gem"}, None, preprocessing)
    embedder = Embedder(network, preprocessing, name="tiny", **OPTIONS)
    folder = tmp_path_factory.mktemp("saved") / "my-model"
    embedder.save(folder)
    return embedder, folder


def test_a_folder_loads_under_its_own_name(saved, pictures):
    embedder, folder = saved
    loaded = Embedder.load(folder, **OPTIONS)
    assert loaded.name == "my-model"
    assert_close(loaded.embed(pictures[:1]), embedder.embed(pictures[:1]), rtol=0, atol=0)


def test_size_and_pooling_and_normalization_replace_what_was_saved(saved):
    loaded = load_model(saved[1], pooling="max", input_size=(96, 64), normalization="0.5/0.25")
    assert loaded.network.describe_pooling() == {"name": "max"}
    assert loaded.preprocessing.input_size == (96, 64)
    assert (loaded.preprocessing.mean, loaded.preprocessing.std) == ((0.5,) * 3, (0.25,) * 3)


def test_a_pooling_that_does_not_fit_the_saved_head_is_refused(tiny_backbone, tmp_path):
    preprocessing = Preprocessing("squash", (64, 96))
    head = torch.nn.Sequential(torch.nn.Linear(1024, 4))  # after mobilenet's own layers; its map is narrower
    network = assemble(tiny_backbone("mobilenetv3_small_050"), {"name": "own"}, head, preprocessing)
    Embedder(network, preprocessing, name="tiny", **OPTIONS).save(tmp_path)
    with pytest.raises(ValueError, match="pooling 'max' does not fit the head of this model"):
        load_model(tmp_path, pooling="max")


def test_an_embedder_of_ours_loads_from_the_hub(hub, saved, pictures):
    embedder, folder = saved
    snapshot = hub("somebody/shoes")
    for file in folder.iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    loaded = Embedder.load("hf-hub:somebody/shoes", **OPTIONS)
    assert loaded.name == "hf-hub:somebody/shoes"
    assert loaded.fingerprint() == embedder.fingerprint()
    assert_close(loaded.embed(pictures[:1]), embedder.embed(pictures[:1]), rtol=0, atol=0)


def test_a_timm_repository_loads_from_the_hub_and_saves_without_it(
    hub, tiny_backbone, pictures, tmp_path, monkeypatch
):
    backbone = tiny_backbone("test_resnet", global_pool="max")
    snapshot = hub("timm/tiny")
    save_file(backbone.model.state_dict(), snapshot / "model.safetensors")
    config = {
        "architecture": "test_resnet",
        "num_classes": 0,
        "num_features": backbone.model.num_features,
        "global_pool": "max",
        "model_args": {"global_pool": "max"},
        "pretrained_cfg": {"input_size": [3, 64, 64], "mean": [0.5] * 3, "std": [0.5] * 3, "num_classes": 0},
    }
    (snapshot / "config.json").write_text(json.dumps(config))
    loaded = Embedder.load("hf-hub:timm/tiny", **OPTIONS)
    assert loaded.name == "hf-hub:timm/tiny"
    assert (loaded.preprocessing.input_size, loaded.preprocessing.mean) == ((64, 64), (0.5, 0.5, 0.5))
    weights = loaded.network.backbone.model.state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in backbone.model.state_dict().items())

    loaded.save(tmp_path / "copy")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    again = Embedder.load(tmp_path / "copy", **OPTIONS)
    assert again.fingerprint() == loaded.fingerprint()
    assert_close(again.embed(pictures[:1]), loaded.embed(pictures[:1]), rtol=0, atol=0)


def test_a_hub_model_that_is_not_there_is_refused_in_one_sentence(hub):
    with pytest.raises(UnknownModelError, match="hf-hub:nobody/nothing") as caught:
        load_model("hf-hub:nobody/nothing")
    assert "\n" not in str(caught.value)


def test_an_impossible_hub_name_is_refused(hub):
    with pytest.raises(UnknownModelError, match="could not be fetched"):
        load_model("hf-hub:a/b/c/d")


@pytest.mark.parametrize("name", ["./nothing", "nothing.pth", "/no/such/folder", "~/model.safetensors"])
def test_a_path_to_nothing_is_refused(name):
    with pytest.raises(UnknownModelError, match="there is no file or folder"):
        load_model(name)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no saved embedder"):
        load_model(tmp_path)


@pytest.mark.parametrize("wrapper", ["", "module.", "_orig_mod.", "_orig_mod.module."])
def test_own_weights_replace_the_pretrained_ones(tiny_backbone, tmp_path, pictures, wrapper):
    backbone = tiny_backbone("test_resnet", seed=5)
    weights = {wrapper + name: tensor for name, tensor in backbone.model.state_dict().items()}
    save_file(weights, tmp_path / "weights.safetensors")
    embedder = Embedder.from_timm("test_resnet", weights=tmp_path / "weights.safetensors", **OPTIONS)
    expected = backbone.model.state_dict()["conv1.0.weight"]
    assert torch.equal(embedder.network.backbone.model.state_dict()["conv1.0.weight"], expected)


def test_normalizations_by_name_and_by_number():
    assert parse_normalization("imagenet") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert parse_normalization("0.1,0.2,0.3/0.4,0.5,0.6") == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert parse_normalization("0.5/0.25") == ((0.5,) * 3, (0.25,) * 3)


@pytest.mark.parametrize("text", ["", "0.5", "a/b", "1,2/3,4", "0.5/0", "0.5/-1", "1/2/3"])
def test_a_normalization_that_makes_no_sense_is_refused(text):
    with pytest.raises(ValueError, match="normalization is one of imagenet, sop, or MEAN/STD"):
        parse_normalization(text)


def test_models_are_listed_bundled_and_recommended_first():
    names = list_models()
    assert names[:2] == ["mini", "mini-vit"]
    assert set(RECOMMENDED) <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("pattern", ["mini", "dinov3", "vit_*dinov3*"])
def test_listed_models_match_the_filter(pattern):
    names = list_models(pattern)
    assert len(names) == len(set(names)) > 1
    assert all(pattern.split("*")[-2 if "*" in pattern else 0] in name for name in names)
    assert names[0] == ("mini" if pattern == "mini" else "vit_small_patch16_dinov3.lvd1689m")


def test_no_model_matches_a_name_that_is_none():
    assert list_models("no such model") == []


DINO = {"embed_dim": 96, "depth": 2}  # heads and registers as in the full model
WIDE = (48, 80)


@pytest.mark.parametrize(
    ("architecture", "options", "pooling"),
    [
        ("vit_small_patch16_dinov3.lvd1689m", DINO, "cls"),
        ("vit_small_patch16_dinov3", DINO | {"global_pool": "avg"}, "own"),  # somebody chose
        ("vit_small_patch14_reg4_dinov2", {"embed_dim": 24, "num_heads": 3, "depth": 2}, "cls"),
        ("eva02_tiny_patch14_224", {"depth": 2}, "own"),
        ("test_convnext", {}, "own"),
    ],
)
def test_the_dino_family_pools_by_its_cls_token_and_others_as_timm_does(architecture, options, pooling):
    size = (42, 70) if "patch14" in architecture else WIDE
    loaded = from_timm(architecture, pretrained=False, input_size=size, **options)
    assert loaded.network.describe_pooling() == {"name": pooling}


@torch.inference_mode()
def test_dinov3_is_embedded_by_its_cls_token_and_by_the_mean_where_that_is_asked_for():
    images = torch.randn(2, 3, *WIDE, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    default = from_timm("vit_small_patch16_dinov3", pretrained=False, input_size=WIDE, **DINO).network
    tokens = default.backbone.model.forward_features(images)  # CLS, four registers, 15 cells
    assert_close(default(images), tokens[:, 0])
    for pooling in ("mean", "own"):
        torch.manual_seed(0)
        averaged = from_timm(
            "vit_small_patch16_dinov3", pretrained=False, input_size=WIDE, pooling=pooling, **DINO
        )
        assert_close(averaged.network(images), tokens[:, 5:].mean(1))


@torch.inference_mode()
def test_a_saved_dinov3_keeps_the_pooling_that_it_was_saved_with(tmp_path):
    images = torch.randn(1, 3, *WIDE, generator=torch.Generator().manual_seed(0))
    for pooling in ("own", "cls"):
        made = from_timm(
            "vit_small_patch16_dinov3", pretrained=False, input_size=WIDE, pooling=pooling, **DINO
        )
        save_folder(made, tmp_path / pooling)
        again = load_model(tmp_path / pooling)
        assert again.network.describe_pooling() == {"name": pooling}
        assert_close(again.network(images), made.network(images))


@pytest.mark.parametrize(
    ("model", "file", "output"),
    [
        ("m.onnx", "m.onnx", None),
        ("m.onnx:pooled", "m.onnx", "pooled"),
        ("a:b/m.ONNX:Identity:0", "a:b/m.ONNX", "Identity:0"),  # as TensorFlow calls outputs
        ("m.pth:x", "m.pth:x", None),
    ],
)
def test_an_output_of_an_onnx_file_may_have_colons_in_its_name(model, file, output):
    assert split_output(model) == (Path(file), output)


@pytest.mark.parametrize("kind", ["folder", "torch", "numpy", "safetensors"])
def test_too_many_open_files_are_not_called_a_damaged_model(saved, tmp_path, kind):
    weights = {name: tmp_path / f"w.{name}" for name in ("pth", "npz", "safetensors")}
    torch.save({"a": torch.zeros(1)}, weights["pth"])
    np.savez(weights["npz"], a=np.zeros(1))
    save_file({"a": torch.zeros(1)}, weights["safetensors"])
    model = {"folder": saved, "torch": weights["pth"], "numpy": weights["npz"]}.get(
        kind, weights["safetensors"]
    )
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(each.name) for each in Path("/dev/fd").iterdir())
    held = [os.open(os.devnull, os.O_RDONLY)]
    while held[-1] <= highest:  # no gap is left below the limit
        held.append(os.open(os.devnull, os.O_RDONLY))
    resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 1, limits[1]))
    try:
        with pytest.raises(LookalikeError, match=r"can't be opened: Too many open files; raise the limit"):
            Embedder.load(model)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for each in held:
            os.close(each)
