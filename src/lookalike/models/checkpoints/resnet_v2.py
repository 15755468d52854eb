"""ResNetV2 checkpoints of Black et al., WACV 2022: pre-activation, like BiT.

Weight-standardized convolutions (epsilon 1e-10), GroupNorm of 32 groups, and a 1 × 1 convolution
on the last feature map before it is averaged: an affine layer, which commutes with the average
and is therefore the head here. Depth and width are those of the tensors.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from lookalike.errors import CheckpointError
from lookalike.images import Preprocessing
from lookalike.models.backbones import create_backbone, load_weights
from lookalike.models.checkpoints.files import Contents
from lookalike.models.heads import affine_layer
from lookalike.models.network import assemble
from lookalike.models.saving import LoadedModel

NAME = "ResNetV2 of Black et al., WACV 2022"
EXPECTED = "root.conv.weight, body.block1.unit01.conv1.weight, ..."

_INPUT_SIZE = (256, 256)  # of the published networks; a convolutional network's file does not say it
STD_CONV_EPS = 1e-10
_STEM_WIDTH, _STAGE_WIDTHS = 64, (256, 512, 1024, 2048)  # at width factor 1
_ARCHITECTURES: dict[tuple[int, ...], tuple[str, int]] = {  # blocks a stage: name, and width factor
    (3, 4, 6, 3): ("resnetv2_50x1_bit", 1),
    (3, 4, 23, 3): ("resnetv2_101x1_bit", 1),
    (3, 8, 36, 3): ("resnetv2_152x2_bit", 2),
}
_UNIT = re.compile(r"body\.block(\d+)\.unit(\d+)\.(conv[123]|gn[123]|downsample)\.(weight|bias)")
_OUTER = {
    "root.conv.weight": "stem.conv.weight",
    "head.gn.weight": "norm.weight",
    "head.gn.bias": "norm.bias",
}
_HEAD = ("head.conv.weight", "head.conv.bias")


def matches(contents: Contents) -> bool:
    """Whether the file names a root and a first unit as this layout does."""
    return {"root.conv.weight", "body.block1.unit01.conv1.weight"} <= contents.tensors.keys()


def build(contents: Contents, pooling: str | None) -> LoadedModel:
    """Build the network on timm's BiT ResNetV2. Raises CheckpointError for unexpected names and sizes."""
    weights = _translated(contents)
    architecture, options = _architecture(contents, weights)
    backbone = create_backbone(architecture, std_conv_eps=STD_CONV_EPS, **options)
    load_weights(backbone, weights)
    preprocessing = Preprocessing("squash", _INPUT_SIZE, interpolation="bilinear")
    network = assemble(backbone, {"name": "mean"}, _head(contents), preprocessing)
    return LoadedModel(network, preprocessing, contents.path.stem, has_published_maps=True)


def _translated(contents: Contents) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for name, tensor in contents.tensors.items():
        if name in _HEAD:
            continue
        unit = _UNIT.fullmatch(name)
        if unit is None and name not in _OUTER:
            raise CheckpointError(
                f"{contents.path} looks like a ResNetV2, but {name} {tuple(tensor.shape)} is no part of the "
                f"layout ({EXPECTED})"
            )
        weights[_unit_name(unit) if unit else _OUTER[name]] = tensor
    return weights


def _unit_name(unit: re.Match[str]) -> str:
    stage, block, layer, leaf = unit.groups()
    layer = "downsample.conv" if layer == "downsample" else layer.replace("gn", "norm")
    return f"stages.{int(stage) - 1}.blocks.{int(block) - 1}.{layer}.{leaf}"


def _architecture(contents: Contents, weights: dict[str, Tensor]) -> tuple[str, dict[str, Any]]:
    """timm's name, and the widths where they are not those of the name."""
    firsts = [name for name in weights if name.endswith(".conv3.weight")]
    stages = [int(name.split(".")[1]) for name in firsts]
    blocks = tuple(stages.count(stage) for stage in range(max(stages, default=-1) + 1))
    if len(blocks) != len(_STAGE_WIDTHS) or not all(blocks):
        raise CheckpointError(
            f"{contents.path} has a ResNetV2 with {blocks} units in its blocks; expected are four blocks of "
            "at least one unit each"
        )
    name, factor = _ARCHITECTURES.get(blocks, ("bit_resnet_v2", 1))
    widths = [weights.get(f"stages.{stage}.blocks.0.conv3.weight") for stage in range(4)]
    stem = weights["stem.conv.weight"].shape[0]
    channels = [0 if w is None else w.shape[0] for w in widths]
    units = {} if blocks in _ARCHITECTURES else {"layers": list(blocks)}
    if stem == _STEM_WIDTH * factor and channels == [width * factor for width in _STAGE_WIDTHS]:
        return name, units
    return name, {**units, "stem_chs": stem / factor, "channels": [width / factor for width in channels]}


def _head(contents: Contents) -> nn.Sequential:
    weight, bias = (contents.tensors.get(name) for name in _HEAD)
    if weight is None:
        return nn.Sequential()
    if weight.ndim != 4 or weight.shape[2:] != (1, 1):
        raise CheckpointError(
            f"{contents.path}: head.conv.weight is {tuple(weight.shape)} instead of (D, C, 1, 1)"
        )
    return nn.Sequential(affine_layer(weight.flatten(1), bias))
