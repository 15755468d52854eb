"""An embedder on disk: a folder with ``config.json`` and ``model.safetensors``, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lookalike.backbones import create_backbone, load_weights, resize_backbone
from lookalike.errors import CheckpointError, LookalikeError
from lookalike.heads import build_head, describe_head
from lookalike.images import Preprocessing
from lookalike.network import EmbeddingNetwork, assemble

CONFIG, WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True)
class LoadedModel:
    """A network and all that an embedder needs to know beside it."""

    network: EmbeddingNetwork
    preprocessing: Preprocessing
    name: str
    scales: tuple[float, ...] = (1.0,)  # factors on the input size; their embeddings are merged
    scale_power: float = 1.0  # of the generalised mean over scales


def load_folder(folder: Path) -> LoadedModel:
    """Read what ``save_folder`` wrote. Raises CheckpointError, naming what is wrong and where."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if config["format"] != 1:
            raise CheckpointError(
                f"{folder / CONFIG} has format {config['format']!r}; this version reads format 1, update lookalike"
            )
        return _build(config, load_safetensors(folder / WEIGHTS))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(
            f"{folder} is no saved embedder: {what.strip().splitlines()[0]}; it should hold {CONFIG} and "
            f"{WEIGHTS} as Embedder.save writes them"
        ) from error


def save_folder(model: LoadedModel, folder: Path, *, half: bool = False) -> None:
    """Write config.json and model.safetensors; ``half`` stores fp16 weights.

    Raises LookalikeError where the folder can't be written.
    """
    network = model.network
    dtype = torch.float16 if half else torch.float32
    tensors = {
        name: tensor.detach().to("cpu", dtype if tensor.is_floating_point() else tensor.dtype).contiguous()
        for name, tensor in _tensors(network).items()
    }
    config = {
        "format": 1,
        "name": model.name,
        "backbone": {"architecture": network.backbone.architecture, "kwargs": network.backbone.options},
        "preprocessing": model.preprocessing.to_dict(),
        "pooling": network.describe_pooling(),
        "head": describe_head(network.head),
        "scales": list(model.scales),
        "scale_power": model.scale_power,
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / WEIGHTS)
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise LookalikeError(
            f"the embedder can't be saved to {folder}: {error}; choose another folder"
        ) from error


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, floating ones as fp32. Raises CheckpointError for anything else."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(
            f"{path} is no safetensors file: {error}; give a file of that format"
        ) from error
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}


def _tensors(network: EmbeddingNetwork) -> dict[str, Tensor]:
    tensors = {f"backbone.{name}": t for name, t in network.backbone.model.state_dict().items()}
    if network.pooling is not None:
        tensors |= {f"pooling.{name}": t for name, t in network.pooling.state_dict().items()}
    return tensors | {f"head.{name}": t for name, t in network.head.state_dict().items()}


def _build(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LoadedModel:
    preprocessing = Preprocessing.from_dict(config["preprocessing"])
    backbone = create_backbone(config["backbone"]["architecture"], **config["backbone"]["kwargs"])
    resize_backbone(backbone, preprocessing.input_size)
    load_weights(backbone, _below("backbone.", tensors))
    head = build_head(config["head"], _below("head.", tensors))
    network = assemble(backbone, config["pooling"], head, preprocessing, _below("pooling.", tensors))
    scales = tuple(config.get("scales", (1.0,)))
    return LoadedModel(network, preprocessing, config["name"], scales, config.get("scale_power", 1.0))


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
