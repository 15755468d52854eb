"""Image-text models by name: ``open_clip:NAME@FILE``, and folders of open_clip or transformers."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from lookalike.errors import CheckpointError, LookalikeError, UnknownModelError, first_line
from lookalike.images import Preprocessing
from lookalike.models.checkpoints.files import read_checkpoint
from lookalike.models.image_text.open_clip_towers import open_clip_preprocessing, open_clip_tower
from lookalike.models.image_text.text_tower import library_of
from lookalike.models.image_text.transformers_towers import (
    FAMILIES,
    transformers_preprocessing,
    transformers_tower,
)
from lookalike.models.network import EmbeddingNetwork
from lookalike.models.saving import LoadedModel
from lookalike.models.text_source import TextSource

OPEN_CLIP = "open_clip:"
OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors",
                     "open_clip_pytorch_model.bin")  # fmt: skip
_TRANSFORMERS_CONFIG = "config.json"
_TRANSFORMERS_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
_BROKEN = (OSError, LookupError, AttributeError, TypeError, ValueError, RuntimeError, ArithmeticError)


def holds_image_text(folder: Path) -> bool:
    """Whether a folder holds an image-text model of open_clip or transformers."""
    if (folder / OPEN_CLIP_CONFIG).is_file():
        return True
    try:
        config = _json(folder / _TRANSFORMERS_CONFIG)
    except (OSError, ValueError, RecursionError):  # none, or one that whoever reads the model will refuse
        return False
    return isinstance(config.get("text_config"), dict) and "model_type" in config


def load_image_text(model: str, folder: Path | None = None, *, hub: str | None = None) -> LoadedModel:
    """Load the image tower of ``open_clip:NAME@FILE``, or of a folder; words come when they are asked for.

    ``hub`` is the repository that a folder was fetched from. Raises UnknownModelError and CheckpointError.
    """
    try:
        if folder is None:
            return _named(model)
        if (folder / OPEN_CLIP_CONFIG).is_file():
            return _open_clip_folder(model, folder, hub)
        return _transformers_folder(model, folder)
    except LookalikeError:
        raise
    except _BROKEN as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else first_line(error)
        raise CheckpointError(f"{model} is no image-text model that can be read: {reason}") from error


def with_absolute_weights(model: str) -> str:
    """The name of a model with the file of ``open_clip:NAME@FILE`` as an absolute path."""
    name, at, weights = model.partition("@")
    is_file = model.startswith(OPEN_CLIP) and at and Path(weights).exists()
    return f"{name}@{Path(weights).absolute()}" if is_file else model


def _named(model: str) -> LoadedModel:
    name, _, weights = model.removeprefix(OPEN_CLIP).partition("@")
    package = importlib.util.find_spec("open_clip")  # its settings are read without importing it
    if package is None or package.origin is None:
        raise LookalikeError(f"{model} needs open_clip: pip install 'lookalike[text]'")
    configs = Path(package.origin).parent / "model_configs"
    if not (configs / f"{name}.json").is_file():
        known = ", ".join(sorted(path.stem for path in configs.glob("ViT-B-*.json"))[:6])
        raise UnknownModelError(
            f"open_clip has no architecture {name!r}; it has {known} and more (open_clip.list_models())"
        )
    if not weights:
        raise UnknownModelError(
            f"{model} needs weights: {OPEN_CLIP}{name}@FILE, or @TAG for one that open_clip downloads"
        )
    settings = _json(configs / f"{name}.json")
    preprocessing: dict[str, Any] = {}
    file = Path(weights)
    if not file.is_file():
        file, preprocessing = _downloaded(name, weights)
    source = TextSource("open_clip", name, str(file.absolute()), (0, 0))
    return _open_clip(model, settings, preprocessing, _tensors(file), source)


def _downloaded(name: str, tag: str) -> tuple[Path, dict[str, Any]]:
    """The file of a tag of open_clip's, and its preprocessing."""
    library = library_of(TextSource("open_clip", name, tag, (0, 0)))
    config = library.get_pretrained_cfg(name, tag)
    if not config:
        tags = ", ".join(library.list_pretrained_tags_by_model(name)) or "none"
        raise UnknownModelError(f"{tag!r} is no file, and no tag of {name}: it has {tags}; give one of them")
    try:
        return Path(library.download_pretrained(config)), dict(config)
    except Exception as error:  # of the network, in many classes
        raise UnknownModelError(
            f"{OPEN_CLIP}{name}@{tag} could not be fetched: {first_line(error)}; check name and network"
        ) from error


def _open_clip_folder(model: str, folder: Path, hub: str | None) -> LoadedModel:
    config = _json(folder / OPEN_CLIP_CONFIG)
    name = f"hf-hub:{hub}" if hub else f"local-dir:{folder.absolute()}"
    source = TextSource("open_clip", name, None, (0, 0))
    tensors = _tensors(_first(folder, OPEN_CLIP_WEIGHTS))
    return _open_clip(model, config["model_cfg"], config.get("preprocess_cfg") or {}, tensors, source)


def _open_clip(
    model: str,
    settings: dict[str, Any],
    preprocess: dict[str, Any],
    tensors: dict[str, Tensor],
    source: TextSource,
) -> LoadedModel:
    preprocessing = open_clip_preprocessing(preprocess, settings["vision_cfg"], model)
    network = open_clip_tower(settings, tensors, preprocessing, model)
    return _loaded(model, network, preprocessing, source)


def _transformers_folder(model: str, folder: Path) -> LoadedModel:
    config = _json(folder / _TRANSFORMERS_CONFIG)
    if config["model_type"] not in FAMILIES:
        raise CheckpointError(
            f"{model} is a {config['model_type']} of transformers, whose image tower is not understood here; "
            f"models of the kinds {', '.join(FAMILIES)} are"
        )
    processor: dict[str, Any] = {}
    if (folder / "preprocessor_config.json").is_file():
        processor = _json(folder / "preprocessor_config.json")
    elif (folder / "processor_config.json").is_file():
        processor = _json(folder / "processor_config.json").get("image_processor") or {}
    preprocessing = transformers_preprocessing(config, processor)
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = sorted({Path(str(name)).name for name in _json(index)["weight_map"].values()})
        tensors = {name: t for shard in shards for name, t in _tensors(folder / shard).items()}
    else:
        tensors = _tensors(_first(folder, _TRANSFORMERS_WEIGHTS))
    network = transformers_tower(config, tensors, preprocessing, model)
    return _loaded(
        model, network, preprocessing, TextSource("transformers", str(folder.absolute()), None, (0, 0))
    )


def _loaded(
    model: str, network: EmbeddingNetwork, preprocessing: Preprocessing, source: TextSource
) -> LoadedModel:
    known = TextSource(source.package, source.name, source.weights, preprocessing.input_size)
    return LoadedModel(network, preprocessing, model, text=known)


def _tensors(file: Path) -> dict[str, Tensor]:
    return dict(read_checkpoint(file).tensors)


def _first(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"{folder} has no weights; one of {', '.join(names)} is expected")


def _json(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} is no JSON object")
    return value
