"""Trunks of the retrieval networks of Radenović et al.: torchvision's networks up to their last map.

Their files number the layers, ``features.0`` and so on; which network it is, its tensors tell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lookalike.errors import CheckpointError
from lookalike.models.backbones import Backbone, create_backbone, load_weights
from lookalike.models.checkpoints.files import Contents

_RESNETS: dict[tuple[tuple[int, ...], bool], str] = {  # (blocks a stage, has bottlenecks): timm's name
    ((2, 2, 2, 2), False): "resnet18",
    ((3, 4, 6, 3), False): "resnet34",
    ((3, 4, 6, 3), True): "resnet50",
    ((3, 4, 23, 3), True): "resnet101",
    ((3, 8, 36, 3), True): "resnet152",
}
_RESNET = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
_DENSENETS: dict[tuple[int, ...], str] = {
    (6, 12, 24, 16): "densenet121",
    (6, 12, 32, 32): "densenet169",
    (6, 12, 48, 32): "densenet201",
    (6, 12, 36, 24): "densenet161",
}
_DENSENET = {
    "0": "conv0", "1": "norm0", "4": "denseblock1", "5": "transition1", "6": "denseblock2",
    "7": "transition2", "8": "denseblock3", "9": "transition3", "10": "denseblock4", "11": "norm5",
}  # fmt: skip
_OLD_DENSE = re.compile(r"(denselayer\d+\.(?:norm|conv))\.(\d)")  # names of torchvision before 0.3
_KNOWN = (*_RESNETS.values(), "vgg", "alexnet", *_DENSENETS.values())


def retrieval_trunk(contents: Contents) -> Backbone:
    """Build the trunk with its weights. Raises CheckpointError for an unknown one and for missing tensors."""
    tensors = contents.below("features.")
    found = _plain(tensors) or _densenet(tensors) or _resnet(tensors)
    if found is None:
        raise CheckpointError(
            f"{contents.path} has a backbone {contents.meta.get('architecture', 'without a name')!s:.40} "
            f"that is not known; known are {', '.join(_KNOWN)}, found {contents.some_names()}"
        )
    architecture, weights, options = found
    for name in [name for name in weights if name.endswith("running_var")]:
        # files of PyTorch before 0.4.1 do not count batches
        weights.setdefault(name.replace("running_var", "num_batches_tracked"), torch.tensor(0))
    backbone = create_backbone(architecture, **options)
    load_weights(backbone, weights)
    return backbone


_Found = tuple[str, dict[str, Tensor], dict[str, Any]]  # architecture, weights, options


def _plain(tensors: Mapping[str, Tensor]) -> _Found | None:
    """AlexNet, or a VGG of any widths: convolutions with bias and nothing else."""
    if not all(re.fullmatch(r"\d+\.(weight|bias)", name) for name in tensors):
        return None
    sizes = {int(name.split(".")[0]): t.shape for name, t in tensors.items() if t.ndim == 4}
    weights = {f"features.{name}": tensor for name, tensor in tensors.items()}
    numbers = sorted(sizes)
    if numbers[:1] != [0]:
        return None
    if numbers == [0, 3, 6, 8, 10] and sizes[0][2] == 11:
        return "alexnet_trunk", weights, {}
    widths: list[int] = []
    for number, before in zip(numbers, (-2, *numbers), strict=False):
        if number - before not in (2, 3) or tuple(sizes[number][2:]) != (3, 3):
            return None
        widths += [0] * (number - before - 2) + [int(sizes[number][0])]  # a pooling stands between
    return "vgg_trunk", weights, {"widths": widths}


def _densenet(tensors: Mapping[str, Tensor]) -> _Found | None:
    named = _renamed(tensors, _DENSENET)
    if named is None or not any(".denselayer" in name for name in named):
        return None
    weights = {"features." + _OLD_DENSE.sub(r"\g<1>\g<2>", name): tensor for name, tensor in named.items()}
    layers = {tuple(name.split(".")[1:3]) for name in weights if ".denselayer" in name}
    architecture = _DENSENETS.get(tuple(sum(b == f"denseblock{i}" for b, _ in layers) for i in range(1, 5)))
    return None if architecture is None else (architecture, weights, {})


def _resnet(tensors: Mapping[str, Tensor]) -> _Found | None:
    weights = _renamed(tensors, _RESNET)
    if weights is None:
        return None
    units = {tuple(name.split(".")[:2]) for name in weights if name.startswith("layer")}
    blocks = tuple(sum(layer == f"layer{i}" for layer, _ in units) for i in range(1, 5))
    architecture = _RESNETS.get((blocks, "layer1.0.conv3.weight" in weights))
    return None if architecture is None else (architecture, weights, {})


def _renamed(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor] | None:
    """Tensors with names instead of numbers; None where a number has no name."""
    parts = {name: name.partition(".") for name in tensors}
    if any(number not in names for number, _, _ in parts.values()):
        return None
    return {f"{names[parts[name][0]]}.{parts[name][2]}": tensor for name, tensor in tensors.items()}
