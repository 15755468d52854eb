"""AVSL checkpoints of Zhang et al., CVPR 2022: a backbone, its nodes, and the graph between them.

Their code saves three files, ``models_trunk_*.ckpt``, ``models_embedder_*.ckpt`` and
``collectors_collector_*.ckpt``; name any of them, the others are looked for beside it. One file
with the three state dicts under ``trunk``, ``embedder`` and ``collector`` is read too. Settings that are
not in the files are the published ones: 128 links a node, sharpness 10, p = 2, a resize to 256 pixels and a
center of 224. The proxies were for training and are left out. The backbone is a ResNet-50 or BN-Inception.
A baseline of that code has one layer of nodes instead and no graph: it is an embedding, and needs no
collector.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from lookalike.errors import CheckpointError
from lookalike.images import Preprocessing
from lookalike.models.avsl_network import AvslNetwork, Gates
from lookalike.models.backbones import (
    N_LEVELS,
    create_backbone,
    level_widths,
    load_weights,
    preprocessing_of,
    published_weights,
)
from lookalike.models.checkpoints.bn_inception import WITNESS
from lookalike.models.checkpoints.files import Contents, read_checkpoint
from lookalike.models.heads import affine_layer
from lookalike.models.network import EmbeddingNetwork
from lookalike.models.poolings import AveragePlusMaxPooling
from lookalike.models.saving import LoadedModel
from lookalike.models.wrappers import without_wrappers

NAME = "AVSL of Zhang et al., CVPR 2022"
EXPECTED = "files of trunk, embedder and collector with model.conv1.weight, conv1x1_0.weight, link_0to1, ..."

_PARTS = ("trunk", "embedder", "collector")
_FILES = ("models_trunk", "models_embedder", "collectors_collector")
_WITNESSES = ("model.layer4.0.conv1.weight", "conv1x1_0.weight", "prob_coef_0")  # of each part
_BASELINE = "net.0.weight"  # of its embedder


def matches(contents: Contents) -> bool:
    """Whether the file holds a part of the layout, or all of them."""
    names = contents.tensors.keys()
    parts = [*_WITNESSES, *(f"{part}.{name}" for part, name in zip(_PARTS, _WITNESSES, strict=True))]
    inception = {f"{top}{WITNESS}" for top in ("", "trunk.", "model.", "trunk.model.")}
    baseline = {_BASELINE, f"embedder.{_BASELINE}"}
    return bool(names & {*parts, *inception, *baseline})


def build(contents: Contents, pooling: str | None) -> LoadedModel:
    """Build the network on the backbone of its trunk.

    Raises CheckpointError for missing parts and for unexpected names and sizes.
    """
    trunk, embedder, collector = _parts(contents)
    weights = {n.removeprefix("model."): t for n, t in trunk.items()}
    is_inception = WITNESS in weights
    backbone = create_backbone("bninception" if is_inception else "resnet50")
    load_weights(backbone, published_weights(weights) if is_inception else weights)
    if _BASELINE in embedder:
        layer = affine_layer(*(_expected(contents.path, embedder, f"net.0.{n}") for n in ("weight", "bias")))
        network = EmbeddingNetwork(backbone, AveragePlusMaxPooling(), nn.Sequential(layer))
    else:
        projections = _projections(contents.path, embedder, level_widths(backbone))
        gates = _gates(contents.path, collector, projections[0].out_features)
        network = AvslNetwork(backbone, projections, gates).embedder_network()
    preprocessing = Preprocessing("crop", (224, 224), crop_pct=0.875, interpolation="bilinear")
    if is_inception:
        preprocessing = preprocessing_of(backbone)
    return LoadedModel(network, preprocessing, contents.path.stem)


def _parts(contents: Contents) -> list[dict[str, Tensor]]:
    """The tensors of trunk, embedder and collector, from one file or from three."""
    joined = [without_wrappers(contents.below(f"{part}."), str(contents.path)) for part in _PARTS]
    if any(joined):
        needed = 2 if _BASELINE in joined[1] else 3
        missing = [part for part, tensors in zip(_PARTS[:needed], joined, strict=False) if not tensors]
        if missing:
            raise CheckpointError(f"{contents.path} has no {' and no '.join(missing)}; give all three parts")
        return joined
    trunk, embedder = _read(contents, 0), _read(contents, 1)
    return [trunk, embedder, {} if _BASELINE in embedder else _read(contents, 2)]


def _read(contents: Contents, part: int) -> dict[str, Tensor]:
    path = _siblings(contents.path)[part]
    if path != contents.path and not path.is_file():
        raise CheckpointError(f"beside {contents.path} there is no {path.name}; put all three files there")
    return dict(contents.tensors if path == contents.path else read_checkpoint(path).tensors)


def _siblings(path: Path) -> list[Path]:
    """Paths of trunk, embedder and collector."""
    named = re.fullmatch(rf"({'|'.join(_FILES)})(.*)", path.name)
    if named is None:
        raise CheckpointError(
            f"{path} is one of three files of an AVSL model; name it as its code does "
            f"({', '.join(f'{name}_best.ckpt' for name in _FILES)}), so that the others are found"
        )
    return [path.with_name(f"{name}{named[2]}") for name in _FILES]


def _projections(path: Path, embedder: Mapping[str, Tensor], channels: tuple[int, ...]) -> list[nn.Linear]:
    width = len(_expected(path, embedder, "conv1x1_0.bias"))
    return [
        affine_layer(
            _expected(path, embedder, f"conv1x1_{i}.weight", (width, c, 1, 1)).flatten(1),
            _expected(path, embedder, f"conv1x1_{i}.bias", (width,)),
        )
        for i, c in enumerate(channels)
    ]


def _gates(path: Path, collector: Mapping[str, Tensor], width: int) -> Gates:
    gates = Gates(width, N_LEVELS)
    names = [f"link_{i}to{i + 1}" for i in range(N_LEVELS - 1)]
    links = torch.stack([_expected(path, collector, name, (width, width)) for name in names])
    weights = {"links": links, "n_updates": (links != 0).any().long()}
    for i in range(N_LEVELS):
        weights[f"coefficients.{i}"] = _expected(path, collector, f"prob_coef_{i}", (width,))
        weights[f"biases.{i}"] = _expected(path, collector, f"prob_bias_{i}", (width,))
    gates.load_state_dict(weights)
    return gates


def _expected(
    path: Path, tensors: Mapping[str, Tensor], name: str, shape: tuple[int, ...] | None = None
) -> Tensor:
    tensor = tensors.get(name)
    if tensor is None or (shape is not None and tensor.shape != shape):
        found = "nothing" if tensor is None else str(tuple(tensor.shape))
        raise CheckpointError(
            f"the AVSL model of {path} should have {name}{'' if shape is None else f' {shape}'}, "
            f"found {found}"
        )
    return tensor
