"""Retrieval networks of Radenović et al., *Fine-tuning CNN Image Retrieval with No Human
Annotation*, TPAMI 2019, as their training code (cnnimageretrieval) saves them.

A file is ``{"meta": {...}, "state_dict": {...}}``: a ResNet, VGG, AlexNet or DenseNet without its end
(``retrieval_trunks``), optional local
whitening of every cell, GeM, MAC, SPoC or R-MAC (also over regions, with their own whitening),
L2, optional whitening and L2 again. As published, images are shrunk to 1,024 pixels at most,
proportions kept, and their embeddings at three scales are merged. Whitenings that some files carry in
``meta["Lw"]``, learned after training, are applied on request: ``NAME`` is the one of the training set
for embeddings at one scale, ``NAME:ms`` that for embeddings merged from the three.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lookalike.errors import CheckpointError
from lookalike.images import Preprocessing
from lookalike.models.backbones import Backbone
from lookalike.models.checkpoints.files import Contents
from lookalike.models.checkpoints.retrieval_trunks import retrieval_trunk
from lookalike.models.heads import L2Norm, affine_layer
from lookalike.models.network import assemble
from lookalike.models.saving import LoadedModel
from lookalike.models.whitening import LearnedWhitening, with_whitening

NAME = "retrieval networks of Radenović et al., TPAMI 2019"
EXPECTED = "a mapping with meta and state_dict, features.0.weight, pool.p, whiten.weight, ..."

_INPUT_SIZE = (1024, 1024)
SCALES = (1.0, 2**-0.5, 0.5)  # of the published evaluation
NORM_EPS = 1e-6
_POOLINGS = {"gem": "gem", "mac": "max", "spoc": "mean", "rmac": "rmac"}
_OTHERS = (
    "pool.p",
    "pool.rpool.p",
    *(f"{layer}.{leaf}" for layer in ("lwhiten", "pool.whiten", "whiten") for leaf in ("weight", "bias")),
)


def matches(contents: Contents) -> bool:
    """Whether the file holds ``features`` by number, and says how they are pooled."""
    says_pooling = "pooling" in contents.meta or bool(contents.below("pool."))
    return says_pooling and any(re.match(r"features\.\d+\.", name) for name in contents.tensors)


def build(contents: Contents, pooling: str | None) -> LoadedModel:
    """Build the network on its trunk. Raises CheckpointError for unexpected names and sizes."""
    _refuse_unknown_tensors(contents)
    backbone = retrieval_trunk(contents)
    _check_sizes(contents, backbone)
    preprocessing = _preprocessing(contents)
    spec, weights = _pooling(contents)
    network = assemble(backbone, spec, _head(contents), preprocessing, weights)
    return LoadedModel(
        network,
        preprocessing,
        contents.path.stem,
        SCALES,
        _scale_power(contents),
        carried_whitenings=tuple(_carried(contents)),
    )


def with_carried_whitening(model: LoadedModel, contents: Contents, asked: str) -> LoadedModel:
    """The model at the scales of a whitening that its file carries, and with it.

    ``asked`` is ``NAME`` or ``NAME:ss`` for one scale, ``NAME:ms`` for the three of the publication. Raises
    CheckpointError for one that the file does not hold, and for sizes that do not fit.
    """
    carried = _carried(contents)
    wanted = asked.removesuffix(":ss")
    if wanted not in carried:
        held = f"it has {', '.join(carried)}" if carried else "it has none"
        raise CheckpointError(f"{contents.path} carries no whitening {asked!r}; {held}")
    learned = carried[wanted]
    mean, projection = (
        torch.as_tensor(np.asarray(learned.get(key)), dtype=torch.float64)
        if isinstance(learned.get(key), np.ndarray | Tensor) and np.asarray(learned[key]).dtype.kind in "fiu"
        else torch.zeros(0)
        for key in ("m", "P")
    )
    is_multiscale = wanted.endswith(":ms")
    model = replace(model, scales=SCALES if is_multiscale else (1.0,))
    width = _width(model)
    fits = mean.numel() == width and projection.ndim == 2 and projection.shape[1] == width
    if not fits or not len(projection) or not bool(mean.isfinite().all() & projection.isfinite().all()):
        raise CheckpointError(
            f"{contents.path}: whitening {asked!r} should have finite m ({width}, 1) and P (D, {width}); "
            f"got m {tuple(mean.shape)} and P {tuple(projection.shape)}"
        )
    return with_whitening(model, LearnedWhitening(mean.reshape(-1), projection), wanted.removesuffix(":ms"))


def _carried(contents: Contents) -> dict[str, Mapping[str, Any]]:
    """The whitenings of a file by the names with which they are asked for."""
    by_set = contents.meta.get("Lw")
    found = {}
    for name, by_scales in by_set.items() if isinstance(by_set, Mapping) else ():
        for scales, suffix in (("ss", ""), ("ms", ":ms")):
            learned = by_scales.get(scales) if isinstance(by_scales, Mapping) else None
            if isinstance(learned, Mapping):
                found[f"{name}{suffix}"] = learned
    return found


def _width(model: LoadedModel) -> int:
    """D of the network's embeddings."""
    width = model.network.width()
    return int(model.network.backbone.model.num_features) if width is None else width  # type: ignore[arg-type]


def _refuse_unknown_tensors(contents: Contents) -> None:
    for name, tensor in contents.tensors.items():
        if not name.startswith("features.") and name not in _OTHERS:
            raise CheckpointError(
                f"{contents.path} looks like a retrieval network, but {name} {tuple(tensor.shape)} is no "
                f"part of the layout; beside features.* expected are {', '.join(_OTHERS)}"
            )


def _check_sizes(contents: Contents, backbone: Backbone) -> None:
    """Refuse affine layers and powers that do not follow on each other."""
    width = pooled_width = int(backbone.model.num_features)  # type: ignore[arg-type]
    for layer in ("lwhiten", "pool.whiten", "whiten"):
        affine_layer = contents.below(f"{layer}.")
        weight, bias = affine_layer.get("weight"), affine_layer.get("bias")
        if weight is None and bias is None:
            continue
        if weight is None or weight.ndim != 2 or weight.shape[1] != width or bias is None:
            raise _odd(contents, f"{layer} should have a weight (D, {width}) and a bias (D,)")
        width = weight.shape[0]
        if bias.shape != (width,):
            raise _odd(contents, f"{layer}.bias should be ({width},)")
        if layer == "lwhiten":
            pooled_width = width
    for name in ("pool.p", "pool.rpool.p"):
        power = contents.tensors.get(name)
        if power is not None and (power.numel() not in (1, pooled_width) or not bool((power > 0).all())):
            raise _odd(contents, f"{name} should be one number above 0, or {pooled_width} of them")


def _odd(contents: Contents, what: str) -> CheckpointError:
    held = [name for name in _OTHERS if name in contents.tensors]
    found = ", ".join(f"{name} {tuple(contents.tensors[name].shape)}" for name in held)
    return CheckpointError(f"{contents.path}: {what}; found {found}")


def _pooling(contents: Contents) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The pooling's description and weights, from the inside out."""
    tensors = contents.tensors
    name = _pooling_name(contents)
    spec: dict[str, Any] = {"name": _POOLINGS[name]}
    weights = {"power": _power(contents).reshape(-1)} if name == "gem" else {}
    if _is_regional(contents):
        whitening = contents.below("pool.whiten.")
        spec = {"name": "regional", "inner": spec, "whitened": bool(whitening)}
        weights = _inner(weights) | {f"head.1.{leaf}": t for leaf, t in whitening.items()}
    if "lwhiten.weight" in tensors:
        spec = {"name": "local", "inner": spec}
        weights = _inner(weights) | {f"layer.{leaf}": t for leaf, t in contents.below("lwhiten.").items()}
    return spec, weights


def _inner(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"inner.{name}": tensor for name, tensor in weights.items()}


def _pooling_name(contents: Contents) -> str:
    has_power = bool(contents.tensors.keys() & {"pool.p", "pool.rpool.p"})
    name = str(contents.meta.get("pooling", "gem" if has_power else "")).lower()
    name = name.removesuffix("mp")  # gemmp: GeM with one power per channel
    regional = _is_regional(contents)
    if name not in _POOLINGS or (name == "gem") != has_power or (name == "rmac" and regional):
        raise CheckpointError(
            f"{contents.path} says pooling {contents.meta.get('pooling')!r}{' by region' * regional}, and "
            f"has {'a' if has_power else 'no'} GeM power; known are gem (with pool.p), mac, spoc, and rmac "
            "(not by region)"
        )
    return name


def _is_regional(contents: Contents) -> bool:
    return bool(contents.meta.get("regional")) or bool(
        contents.tensors.keys() & {"pool.rpool.p", "pool.whiten.weight"}
    )


def _power(contents: Contents) -> Tensor:
    powers = [contents.tensors[name] for name in ("pool.rpool.p", "pool.p") if name in contents.tensors]
    return powers[0]


def _head(contents: Contents) -> nn.Sequential:
    layers: list[nn.Module] = [L2Norm(NORM_EPS)]
    if _is_regional(contents):
        layers.append(L2Norm(NORM_EPS))  # the sum over regions is normalized as well
    if "whiten.weight" in contents.tensors:
        whitening = affine_layer(contents.tensors["whiten.weight"], contents.tensors.get("whiten.bias"))
        layers += [whitening, L2Norm(NORM_EPS)]
    return nn.Sequential(*layers)


def _preprocessing(contents: Contents) -> Preprocessing:
    standard = Preprocessing("fit", _INPUT_SIZE, interpolation="lanczos")
    try:
        mean, std = (
            tuple(float(value) for value in contents.meta.get(key, getattr(standard, key)))
            for key in ("mean", "std")
        )
        return Preprocessing("fit", _INPUT_SIZE, interpolation="lanczos", mean=mean, std=std)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{contents.path}: meta gives no usable mean and std: {error}") from error


def _scale_power(contents: Contents) -> float:
    """The published power: GeM's own, or 1.

    It is 1 for whitened and regional networks, whose embeddings have negative values, and where
    there is one power per channel.
    """
    if _pooling_name(contents) != "gem" or _is_regional(contents) or "whiten.weight" in contents.tensors:
        return 1.0
    power = _power(contents)
    return float(power) if power.numel() == 1 else 1.0
