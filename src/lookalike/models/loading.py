"""Loading of models by name: bundled, timm's, the hub's, saved folders and checkpoint files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lookalike.errors import UnknownModelError, UnknownNameError, first_line, opening
from lookalike.images import Preprocessing
from lookalike.models import checkpoints
from lookalike.models.backbones import (
    create_backbone,
    load_weights,
    model_names,
    preprocessing_of,
    resize_backbone,
)
from lookalike.models.checkpoints.files import read_checkpoint
from lookalike.models.image_text import OPEN_CLIP, holds_image_text, load_image_text
from lookalike.models.network import EmbeddingNetwork, assemble
from lookalike.models.saving import CONFIG_FILE, LoadedModel, load_folder
from lookalike.models.transformers_folders import (
    holds_transformers,
    load_transformers,
    within_sentence_transformer,
)
from lookalike.models.wrappers import weights_below

_BUNDLED = Path(__file__).parent / "bundled"
HUB = "hf-hub:"
ONNX_SUFFIX = ".onnx"
NORMALIZATIONS: Mapping[str, tuple[tuple[float, float, float], tuple[float, float, float]]] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "sop": ((0.5807, 0.5396, 0.5044), (0.2901, 0.2974, 0.3095)),  # Black et al.'s Stanford Online Products
}


RECOMMENDED: Mapping[str, str] = {
    "mini": "first looks, tests, weak machines; bundled, works offline",
    "mini-vit": "a small transformer beside it, to compare; bundled",
    "vit_small_patch16_dinov3.lvd1689m": "a general choice: instances, places, products; by its CLS token",
    "vit_base_patch14_reg4_dinov2.lvd142m": "more accurate and slower; fine grid; by its CLS token",
    "convnext_tiny.in12k_ft_in1k": "convolutional, exact maps, any input size",
    "vit_base_patch16_siglip_224.v2_webli": "semantic likeness, text-trained",
    "resnet50.a1_in1k": "the classic baseline of papers",
}


def bundled_names() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(config.parent.name for config in _BUNDLED.glob(f"*/{CONFIG_FILE}"))


def list_models(filter: str = "") -> list[str]:
    """Names that ``Embedder.load`` takes: the bundled models, the recommended ones, then timm's.

    Without a filter only the bundled and the recommended ones; with one, a part of a name or a
    glob such as ``vit_*dinov3*``, those and all of timm's pretrained models that match it.
    """
    ours = [*bundled_names(), *(name for name in RECOMMENDED if name not in bundled_names())]
    if not filter:
        return ours
    filter = filter.lower()  # all names are
    pattern = filter if any(sign in filter for sign in "*?[") else f"*{filter}*"
    matching = [name for name in ours if fnmatchcase(name, pattern)]
    return matching + [name for name in model_names(pattern, pretrained=True) if name not in matching]


def load_model(
    model: str | Path,
    *,
    pooling: str | None = None,
    input_size: tuple[int, int] | None = None,
    normalization: str | None = None,
    mean_image: Path | None = None,
    whitening: str | None = None,
    heads: int | None = None,
) -> LoadedModel:
    """Load the model that a name, folder or file stands for.

    ``pooling``, ``input_size`` (H, W), ``normalization`` and ``mean_image`` (of TF-slim's networks)
    replace those of the model; ``whitening`` is one that its checkpoint carries, ``heads`` the number of
    attention heads that a checkpoint does not say. A timm model
    pools as timm does (``own``), the DINO family by its CLS token. Raises UnknownModelError,
    UnknownNameError and CheckpointError.
    """
    with opening(f"the model {model}"):
        found = _find(str(model), pooling, input_size, mean_image, whitening, heads)
    return with_preprocessing(found, normalization=normalization)


def with_preprocessing(
    model: LoadedModel, *, normalization: str | None = None, squash: bool = False
) -> LoadedModel:
    """The model with another normalization, or with images squashed instead of center-cropped."""
    preprocessing = model.preprocessing
    if normalization is not None:
        mean, std = parse_normalization(normalization)
        preprocessing = replace(preprocessing, mean=mean, std=std)
    if squash:
        preprocessing = replace(preprocessing, mode="squash", crop_pct=1.0)
    return replace(model, preprocessing=preprocessing)


def from_timm(
    architecture: str,
    *,
    pretrained: bool = True,
    weights: Path | None = None,
    pooling: str | None = None,
    head: nn.Sequential | None = None,
    input_size: tuple[int, int] | None = None,
    preprocessing: Preprocessing | None = None,
    **options: Any,
) -> LoadedModel:
    """A timm backbone with a pooling and a head; see ``Embedder.from_timm``."""
    backbone = create_backbone(architecture, pretrained=pretrained and weights is None, **options)
    if weights is not None:
        contents = read_checkpoint(weights)
        names = backbone.model.state_dict().keys()
        load_weights(backbone, weights_below(contents.tensors, names, str(weights)))
    preprocessing = preprocessing or preprocessing_of(backbone)
    if input_size is not None:
        preprocessing = replace(preprocessing, input_size=input_size)
    resize_backbone(backbone, preprocessing.input_size)
    network = assemble(backbone, {"name": pooling or backbone.default_pooling()}, head, preprocessing)
    return LoadedModel(network, preprocessing, architecture)


def split_output(model: str | Path) -> tuple[Path, str | None]:
    """The file of an ONNX model, and the name of its output where it is written ``model.onnx:NAME``."""
    found = re.fullmatch(r"(.*?\.onnx):(.+)", str(model), re.IGNORECASE | re.DOTALL)
    if found and not Path(model).exists():
        return Path(found[1]), found[2]  # TensorFlow's outputs have colons too: "Identity:0"
    return Path(model), None


def parse_normalization(text: str) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation per channel: ``imagenet``, ``sop`` or ``R,G,B/R,G,B``."""
    if text in NORMALIZATIONS:
        return NORMALIZATIONS[text]
    try:
        mean, std = (tuple(float(v) for v in half.split(",")) for half in text.split("/"))
        mean, std = (half * 3 if len(half) == 1 else half for half in (mean, std))
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError("three numbers each, deviations above 0")
    except ValueError as error:
        raise UnknownNameError(
            f"normalization is one of {', '.join(NORMALIZATIONS)}, or MEAN/STD such as "
            f"0.5,0.5,0.5/0.5,0.5,0.5; got {text!r}"
        ) from error
    return mean, std


def _find(
    model: str,
    pooling: str | None,
    input_size: tuple[int, int] | None,
    mean_image: Path | None,
    whitening: str | None,
    heads: int | None,
) -> LoadedModel:
    path = within_sentence_transformer(Path(model))
    if split_output(model)[0].suffix.lower() == ONNX_SUFFIX:
        raise UnknownModelError(
            f"{model} only returns embeddings, and this needs the layers of a model; ONNX files are taken by "
            "explain (with --method occlusion), evaluate and compare"
        )
    if model in bundled_names():
        loaded = load_folder(_BUNDLED / model)
    elif model.startswith(OPEN_CLIP):
        loaded = load_image_text(model)
    elif path.is_dir() and holds_image_text(path):
        loaded = replace(load_image_text(model, path), name=Path(model).resolve().name)
    elif path.is_dir() and holds_transformers(path):
        loaded = load_transformers(path, Path(model).resolve().name)
    elif path.is_dir():
        loaded = replace(load_folder(path), name=path.resolve().name)
    elif checkpoints.is_checkpoint(path):
        loaded = checkpoints.load_checkpoint(
            path,
            pooling=pooling,
            input_size=input_size,
            mean_image=mean_image,
            whitening=whitening,
            heads=heads,
        )
        mean_image = whitening = heads = None
    elif path.suffix in checkpoints.CHECKPOINT_SUFFIXES or model.startswith((".", "/", "~")):
        raise UnknownModelError(f"there is no file or folder {model}; check the path")
    elif model.startswith(HUB) and (of_hub := _from_hub(model)):
        loaded = of_hub
    else:
        loaded = from_timm(model, pooling=pooling, input_size=input_size)
        pooling = input_size = None
    if heads is not None:
        raise checkpoints.no_heads(loaded.name)
    if whitening is not None:
        raise checkpoints.no_whitening(loaded.name, whitening)
    if mean_image is not None:
        loaded = checkpoints.with_mean_image(loaded, mean_image)
    return _changed(loaded, pooling, input_size)


def _from_hub(model: str) -> LoadedModel | None:
    """A model of the hub in a format of ours or of transformers, or with a text tower; None for timm's."""
    from lookalike.models import hub  # its client takes a fifth as long to import as torch

    repository = model.removeprefix(HUB)
    if folder := hub.saved_on_hub(repository):
        return replace(load_folder(folder), name=model)
    if folder := hub.image_text_on_hub(repository):
        return load_image_text(model, folder, hub=repository)
    if folder := hub.transformers_on_hub(repository):
        return load_transformers(folder, model)
    return None


def _changed(loaded: LoadedModel, pooling: str | None, input_size: tuple[int, int] | None) -> LoadedModel:
    """The loaded model with another input size or pooling."""
    if input_size is not None:
        resize_backbone(loaded.network.backbone, input_size)
        loaded = replace(loaded, preprocessing=replace(loaded.preprocessing, input_size=input_size))
    if pooling is not None:
        network = loaded.network
        changed = assemble(network.backbone, {"name": pooling}, network.head, loaded.preprocessing)
        changed.merged_head = network.merged_head
        _check_width(changed, pooling, loaded.preprocessing.input_size)
        loaded = replace(loaded, network=changed, text=None)  # words fit the model's own pooling alone
    return loaded


@torch.inference_mode()
def _check_width(network: EmbeddingNetwork, pooling: str, size: tuple[int, int]) -> None:
    """Raise ValueError where the pooled vector does not fit the model's head."""
    try:
        network(torch.zeros(1, 3, *size))
    except RuntimeError as error:
        raise ValueError(
            f"pooling {pooling!r} does not fit the head of this model ({first_line(error)}); "
            "leave its pooling as it is"
        ) from error
