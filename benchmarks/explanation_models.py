"""The embeddings of benchmarks/explanations.py, by name."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file

from lookalike.evaluation.explanations.subjects import Subject
from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder

_SIZE = (224, 224)  # pixels


def _bundled(name: str) -> Embedder:
    return Embedder.load(name, device="cpu", precision="fp32")


def _shuffled() -> Embedder:
    """``mini`` with the weights of each layer shuffled: a control that has learned nothing."""
    shuffled = Subject(_bundled("mini")).randomized(whole=True, seed=0).model
    assert isinstance(shuffled, Embedder)
    shuffled.name = "mini-random"
    return shuffled


def _mobilenet(shared: Path, file: str, name: str) -> Embedder:
    half = (0.5, 0.5, 0.5)
    return Embedder.from_timm(
        "mobilenetv2_100",
        pretrained=False,
        weights=shared / "weights" / file,
        pooling="mean",
        preprocessing=Preprocessing("squash", _SIZE, 1.0, "bilinear", half, half),
        pad_type="same",
        precision="fp32",
        name=name,
    )


def _vit(shared: Path, pooling: str) -> Embedder:
    """A trained ViT-S/14; its matrices are stored as int8 with a scale for each row."""
    stored = load_file(shared / "weights/vit_small_patch14_dinov2_saliency.int8.safetensors")
    state = {}
    for key, values in stored.items():
        if key.endswith(".int8"):
            name = key.removesuffix(".int8")
            scale = stored[f"{name}.scale"].float()
            state[name] = values.float() * scale.reshape(-1, *[1] * (values.ndim - 1))
        elif not key.endswith(".scale"):
            state[key] = values.float()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vits14.safetensors"
        save_file(state, file)
        return Embedder.from_timm(
            "vit_small_patch14_dinov2",
            pretrained=False,
            weights=file,
            pooling=pooling,
            input_size=_SIZE,
            precision="fp32",
            name=f"vits14-{pooling}",
        )


MODELS: dict[str, Callable[[Path], Embedder | Path]] = {
    "mini": lambda _shared: _bundled("mini"),
    "mini-vit": lambda _shared: _bundled("mini-vit"),
    "mobilenetv2-imagenet": lambda shared: _mobilenet(
        shared, "mobilenetv2_100_imagenet1001.safetensors", "mobilenetv2-imagenet"
    ),
    "mobilenetv2-inat": lambda shared: _mobilenet(
        shared, "mobilenetv2_100_inat_bird965.safetensors", "mobilenetv2-inat"
    ),
    "vits14-cls": lambda shared: _vit(shared, "cls"),
    "vits14-mean": lambda shared: _vit(shared, "mean"),
    "osnet": lambda shared: shared / "weights/osnet_x0_25_msmt17.onnx",  # an ONNX file: it only embeds
    "mini-random": lambda _shared: _shuffled(),
}
