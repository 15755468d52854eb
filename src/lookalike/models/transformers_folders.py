"""Vision models that transformers saved, as embedders: DINOv2 and v3, SigLIP, ViT, ConvNeXt and others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lookalike.errors import CheckpointError, first_line
from lookalike.images import Preprocessing
from lookalike.models.network import assemble
from lookalike.models.saving import LoadedModel

_MODULES = "modules.json"  # of sentence-transformers
_CONFIG, _PROCESSOR = "config.json", "preprocessor_config.json"
_INTERPOLATIONS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def holds_transformers(folder: Path) -> bool:
    """Whether a folder holds a model of transformers, told by its description alone."""
    try:
        config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):  # none, or one that whoever reads the model will refuse
        return False
    return isinstance(config, dict) and "model_type" in config and "format" not in config


def within_sentence_transformer(folder: Path) -> Path:
    """The folder of the model of transformers inside one that SentenceTransformer saved; others as they are.

    Raises CheckpointError where layers follow the model that change its embedding.
    """
    if not (folder / _MODULES).is_file():
        return folder
    try:
        modules = json.loads((folder / _MODULES).read_text(encoding="utf-8"))
        kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
        first = folder / str(modules[0]["path"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"{folder / _MODULES} can't be read: {first_line(error)}") from error
    if others := [kind for kind in kinds[1:] if kind != "Normalize"]:
        raise CheckpointError(
            f"{folder} has layers after its model ({', '.join(others)}) that are not understood here; open "
            "it with SentenceTransformer and give that to plugs.sentence_transformer.embedder_of"
        )
    if folder.resolve() not in (first.resolve(), *first.resolve().parents):
        raise CheckpointError(f"{folder / _MODULES} names a folder outside; it may be hostile")
    return first


def load_transformers(folder: Path, name: str) -> LoadedModel:
    """The vision model of a folder with its own pooling and preprocessing; ``name`` becomes the embedder's.

    Raises CheckpointError for a folder without such a model, LookalikeError without transformers.
    """
    from lookalike.models.backbones.transformers_trunk import (  # loads timm
        TransformersTrunk,
        pretrained_trunk,
    )

    backbone = pretrained_trunk(folder)
    assert isinstance(backbone.model, TransformersTrunk)
    try:
        preprocessing = preprocessing_by(_processor(folder), backbone.model.input_size)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise CheckpointError(f"{folder / _PROCESSOR} can't be read: {first_line(error)}") from error
    backbone.model.set_input_size(preprocessing.input_size)
    return LoadedModel(assemble(backbone, {"name": "own"}, None, preprocessing), preprocessing, name)


def preprocessing_by(processor: Mapping[str, Any], own_size: tuple[int, int]) -> Preprocessing:
    """The preprocessing that an image processor's settings describe; ``own_size`` (H, W) where silent."""
    size, crop = processor.get("size") or {}, processor.get("crop_size")
    shortest = size if isinstance(size, int) else size.get("shortest_edge")
    cropped = None if crop is None or not processor.get("do_center_crop", crop is not None) else _pair(crop)
    share = processor.get("crop_pct")
    if shortest and cropped is None and share and shortest < 384:  # ConvNeXt: enlarged, then cut
        input_size, kept, mode = (shortest, shortest), float(share), "crop"
    elif shortest and cropped is None:
        input_size, kept, mode = (shortest, shortest), 1.0, "crop" if not share else "squash"
    elif shortest:
        assert cropped is not None
        input_size, kept, mode = cropped, min(1.0, min(cropped) / shortest), "crop"
    else:
        input_size, kept, mode = cropped or (_pair(size) if size else own_size), 1.0, "squash"
    mean, std = processor.get("image_mean") or _IMAGENET[0], processor.get("image_std") or _IMAGENET[1]
    if processor.get("do_normalize") is False:
        mean, std = [0.0] * 3, [1.0] * 3
    return Preprocessing(
        mode=mode,  # type: ignore[arg-type]
        input_size=input_size,
        crop_pct=kept,
        interpolation=_INTERPOLATIONS.get(processor.get("resample", 3), "bicubic"),  # type: ignore[arg-type]
        mean=tuple(mean),
        std=tuple(std),
    )


def _processor(folder: Path) -> dict[str, Any]:
    file = folder / _PROCESSOR
    if file.is_file():
        return dict(json.loads(file.read_text(encoding="utf-8")))
    newer = folder / "processor_config.json"
    settings = json.loads(newer.read_text(encoding="utf-8")) if newer.is_file() else {}
    return dict(settings.get("image_processor") or settings)


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size["height"]), int(size["width"]))
