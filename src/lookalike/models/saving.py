"""Embedders on disk: a folder with ``config.json`` and ``model.safetensors``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lookalike.errors import CheckpointError, LookalikeError, first_line, replacing
from lookalike.images import Preprocessing
from lookalike.models.avsl_network import NodeGraph, build_graph
from lookalike.models.backbones import saved_backbone
from lookalike.models.heads import build_head, describe_head
from lookalike.models.mistaken import other_kind
from lookalike.models.network import EmbeddingNetwork, assemble
from lookalike.models.text_source import TextSource

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"

# What json, torch and our own builders raise for damaged or hostile files.
_BROKEN = (OSError, LookupError, AttributeError, TypeError, ValueError, RuntimeError, ArithmeticError,
           AssertionError, MemoryError)  # fmt: skip
# Options of timm.create_model that read other files or the network; saved models never need them.
_FOREIGN = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"}


MAX_SCALE = 4.0  # an untrusted settings file must not ask for terabytes
_MOST_SCALES = 16
_MOST_PIXELS = 4096**2  # of an input at its largest scale


@dataclass(frozen=True)
class LoadedModel:
    """A network with the settings that an embedder needs."""

    network: EmbeddingNetwork
    preprocessing: Preprocessing
    name: str
    scales: tuple[float, ...] = (1.0,)  # factors on the input size; their embeddings are merged
    scale_power: float = 1.0  # of the generalized mean over scales
    has_published_maps: bool = False  # of its last layer: what method ``shares`` then draws
    whitening: str = ""  # the learned whitening at its end, in words; for embeddings at these scales only
    carried_whitenings: tuple[str, ...] = ()  # that the checkpoint offers: names for ``whitening=``
    text: TextSource | None = None  # of an image-text model: where words are embedded; not saved


# What a configuration says for people, and for the choice of maps: it changes no embedding.
_NAMES = ("name", "has_published_maps", "whitening")


def load_folder(folder: Path) -> LoadedModel:
    """Read what ``save_folder`` wrote. Raises CheckpointError, naming what is wrong and where."""
    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if config["format"] != 1:
            raise CheckpointError(
                f"{folder / CONFIG_FILE} has format {config['format']!r}; this version reads format 1, "
                "update lookalike"
            )
        return _build(config, load_safetensors(folder / WEIGHTS_FILE))
    except CheckpointError:
        raise
    except (*_BROKEN, LookalikeError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else first_line(error)
        raise CheckpointError(
            f"{folder} is no saved embedder: {reason}; it should hold {CONFIG_FILE} and {WEIGHTS_FILE} as "
            "Embedder.save writes them"
        ) from error


def saves_graph(model: str | Path) -> bool:
    """Whether a model is a saved folder with a graph of nodes, told by its description alone."""
    config = Path(model) / CONFIG_FILE
    try:
        return config.is_file() and "graph" in json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def save_folder(model: LoadedModel, folder: Path, *, half: bool = False) -> None:
    """Write config.json and model.safetensors; ``half`` stores weight matrices and filters as fp16.

    Raises LookalikeError where the folder can't be written, ValueError for what can't be stored.
    """
    tensors = {name: _stored(name, tensor, half) for name, tensor in _tensors(model.network).items()}
    try:
        config = json.dumps(model_config(model), indent=2)
    except TypeError as error:
        raise ValueError(
            f"options of timm.create_model that are saved must be plain values: {error}; got "
            f"{model.network.backbone.options}"
        ) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(folder / WEIGHTS_FILE) as weights, replacing(folder / CONFIG_FILE) as settings:
            save_file(tensors, weights)
            settings.write_text(config + "\n", encoding="utf-8")
    except (OSError, LookalikeError, SafetensorError) as error:
        raise LookalikeError(
            f"the embedder can't be saved to {folder}: {error}; choose another folder"
        ) from error


def model_config(model: LoadedModel) -> dict[str, Any]:
    """The model's description beside its weights: the content of config.json."""
    backbone, graph = model.network.backbone, model.network.graph
    of_graph = {"graph": graph.describe()} if isinstance(graph, NodeGraph) else {}
    merged_head = model.network.merged_head
    of_merged = {"merged_head": describe_head(merged_head)} if len(merged_head) else {}
    of_maps = {"has_published_maps": True} if model.has_published_maps else {}
    return {
        "format": 1,
        "name": model.name,
        "backbone": {"architecture": backbone.architecture, "kwargs": backbone.options},
        "preprocessing": model.preprocessing.to_dict(),
        "pooling": model.network.describe_pooling(),
        "head": describe_head(model.network.head),
        "scales": list(model.scales),
        "scale_power": model.scale_power,
        **of_merged,
        **of_graph,
        **of_maps,
        **({"whitening": model.whitening} if model.whitening else {}),
    }


def fingerprint_of(model: LoadedModel) -> str:
    """Hash of what makes a model's embeddings, hexadecimal: neither its name nor its maps count."""
    described = {key: value for key, value in model_config(model).items() if key not in _NAMES}
    digest = hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode())
    for name, tensor in sorted(model.network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a file, floating ones as fp32 or fp64. Raises CheckpointError for anything else."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        if other := other_kind(path):
            raise CheckpointError(f"{path} holds no weights: it is {other}") from error
        raise CheckpointError(
            f"{path} is no safetensors file: {error}; give a file of that format"
        ) from error
    return {
        name: t.float() if t.is_floating_point() and t.dtype != torch.float64 else t
        for name, t in tensors.items()
    }


def _tensors(network: EmbeddingNetwork) -> dict[str, Tensor]:
    tensors = {f"backbone.{name}": t for name, t in network.backbone.model.state_dict().items()}
    if network.pooling is not None:
        tensors |= {f"pooling.{name}": t for name, t in network.pooling.state_dict().items()}
    if network.graph is not None:
        tensors |= {f"graph.{name}": t for name, t in network.graph.state_dict().items()}
    tensors |= {f"merged_head.{name}": t for name, t in network.merged_head.state_dict().items()}
    return tensors | {f"head.{name}": t for name, t in network.head.state_dict().items()}


def _build(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> LoadedModel:
    preprocessing = Preprocessing.from_dict(config["preprocessing"])
    architecture, options = config["backbone"]["architecture"], config["backbone"]["kwargs"]
    if ":" in architecture or _FOREIGN & set(options):
        raise ValueError(
            f"a saved backbone needs no other files, but {architecture!r} {options} asks for some"
        )
    scales = _scales(config)
    height, width = preprocessing.input_size
    if height * width * max(scales) ** 2 > _MOST_PIXELS:
        raise ValueError(f"input {height}x{width} at scale {max(scales)} is beyond {_MOST_PIXELS:,} pixels")
    weights = _below("backbone.", tensors)
    backbone = saved_backbone(architecture, options, weights, preprocessing.input_size)
    head = build_head(config["head"], _below("head.", tensors))
    network = assemble(backbone, config["pooling"], head, preprocessing, _below("pooling.", tensors))
    network.merged_head = build_head(config.get("merged_head", ()), _below("merged_head.", tensors))
    if "graph" in config:
        width = len(tensors["head.0.weight"])
        network.graph = build_graph(config["graph"], _below("graph.", tensors), backbone, width)
    if len(network.merged_head) and len(scales) == 1:
        raise ValueError("a head after the merging of scales needs several scales")
    power = float(config.get("scale_power", 1.0))
    if not 0 < power < float("inf"):
        raise ValueError(f"scale_power is a number above 0, got {power}")
    has_published_maps = config.get("has_published_maps") is True
    whitening = str(config.get("whitening", ""))
    return LoadedModel(
        network, preprocessing, str(config["name"]), scales, power, has_published_maps, whitening
    )


def _scales(config: Mapping[str, Any]) -> tuple[float, ...]:
    given = config.get("scales", (1.0,))
    if not 0 < len(given) <= _MOST_SCALES:
        raise ValueError(f"scales are numbers above 0, 1 to {_MOST_SCALES} of them; got {len(given)}")
    scales = tuple(float(scale) for scale in given)
    if not all(0 < scale <= MAX_SCALE for scale in scales):
        raise ValueError(f"scales are numbers above 0, at most {MAX_SCALE}; got {given!r}")
    return scales


def _stored(name: str, tensor: Tensor, half: bool) -> Tensor:
    """A copy on the CPU in fp32; with ``half``, matrices and filters in fp16.

    Vectors stay in fp32: they take little space and may hold large values.
    """
    if not tensor.is_floating_point():
        return tensor.detach().cpu().clone()
    dtype = torch.float16 if half and tensor.ndim > 1 else torch.float32
    if tensor.dtype == torch.float64:
        dtype = torch.float64  # a whitening, which loses by less
    stored = tensor.detach().to("cpu", dtype).clone(memory_format=torch.contiguous_format)
    if not bool(tensor.isfinite().all()):
        raise ValueError(f"{name} has values that are NaN or infinite; repair the weights")
    if not bool(stored.isfinite().all()):
        raise ValueError(f"{name} has values that {dtype} can't hold; save without half")
    return stored


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
