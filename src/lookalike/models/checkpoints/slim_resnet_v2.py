"""TF-slim checkpoints of the demo of Stylianou, Souvenir and Pless, WACV 2019 (hotels, faces).

A ``resnet_v2_50`` (or of other depths and widths) whose logits are the embedding. The demo embeds by the
logits and draws maps of the mean over the last feature map, after its norm and ReLU; ``pooling`` "mean"
is the network without logits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lookalike.errors import CheckpointError, first_line
from lookalike.images import Preprocessing
from lookalike.models.backbones import create_backbone, load_weights
from lookalike.models.checkpoints.files import Contents
from lookalike.models.heads import affine_layer
from lookalike.models.network import assemble
from lookalike.models.saving import LoadedModel

NAME = "ResNetV2 of TF-slim (the WACV 2019 demo)"
EXPECTED = "resnet_v2_50/conv1/weights, resnet_v2_50/block1/unit_1/bottleneck_v2/preact/gamma, ..."

_FIRST = "block1/unit_1/bottleneck_v2/conv1/weights"
_UNIT = re.compile(r"block(\d)/unit_(\d+)/bottleneck_v2/(preact|shortcut|conv[123])/(?:(BatchNorm)/)?(\w+)")
_LEAVES = {
    "weights": "weight",
    "biases": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_HEAD = ("logits/weights", "logits/biases")
_LEFT_OUT = re.compile(
    r".*/(Momentum|Adam|Adam_1|RMSProp|RMSProp_1|ExponentialMovingAverage)|global_step|beta\d_power"
)
_INPUT_SIZE = (224, 224)


def matches(contents: Contents) -> bool:
    """Whether the file names a first unit as TF-slim does, in any scope."""
    return any(name == _FIRST or name.endswith("/" + _FIRST) for name in contents.tensors)


def build(contents: Contents, pooling: str | None) -> LoadedModel:
    """Build the network; any ``pooling`` leaves the logits out, which follow the mean only.

    Its mean image is zero until ``with_mean_image`` sets it. Raises CheckpointError for unexpected names
    and sizes.
    """
    named = _below_scope(contents)
    head = [named.pop(name, None) for name in _HEAD]
    weights = {_plain_name(name, contents): _turned(tensor) for name, tensor in named.items()}
    options = _sizes(weights, contents)
    height, width = _INPUT_SIZE
    backbone = create_backbone("slim_resnet_v2", **options)
    weights["mean_image"] = torch.zeros(3, height, width)
    counted = {
        name: t for name, t in backbone.model.state_dict().items() if name.endswith("num_batches_tracked")
    }
    load_weights(backbone, {**counted, **weights})
    preprocessing = Preprocessing(
        "squash", _INPUT_SIZE, interpolation="opencv", mean=(0.0, 0.0, 0.0), std=(1 / 255,) * 3
    )
    network = assemble(
        backbone, {"name": "mean"}, _logits(head, contents) if pooling is None else None, preprocessing
    )
    return LoadedModel(network, preprocessing, contents.path.stem, has_published_maps=True)


def with_mean_image(model: LoadedModel, file: Path) -> LoadedModel:
    """The model, whose input is less the mean image of a ``.npy`` file: (H, W, 3) in BGR, levels 0 to 255.

    Raises CheckpointError for another file, and for a model that takes none.
    """
    own = getattr(model.network.backbone.model, "mean_image", None)
    if not isinstance(own, Tensor):
        raise CheckpointError(
            f"{model.name} takes no mean image, only networks of the WACV 2019 demo do; leave it out"
        )
    try:
        mean = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CheckpointError(
            f"{file} can't be read as a mean image: {first_line(error)}; give a .npy file"
        ) from error
    wanted = (*own.shape[1:], 3)
    if mean.shape != wanted or mean.dtype.kind not in "fiu" or not np.isfinite(mean).all():
        raise CheckpointError(
            f"a mean image here has shape {wanted} and finite levels, blue first; {file} has {mean.dtype} "
            f"{mean.shape}"
        )
    own.copy_(torch.from_numpy(mean.astype(np.float32)).permute(2, 0, 1))
    return model


def _below_scope(contents: Contents) -> dict[str, Tensor]:
    """The network's tensors without their scope (``resnet_v2_50``), and without the optimizer's."""
    first = next(name for name in contents.tensors if name == _FIRST or name.endswith("/" + _FIRST))
    scope = first.removesuffix(_FIRST)
    return {
        name.removeprefix(scope): tensor
        for name, tensor in contents.tensors.items()
        if name.startswith(scope) and not _LEFT_OUT.fullmatch(name)
    }


def _plain_name(name: str, contents: Contents) -> str:
    unit = _UNIT.fullmatch(name)
    if unit is None:
        layer, _, leaf = name.rpartition("/")
        if layer in ("conv1", "postnorm") and leaf in _LEAVES:
            return f"{layer}.{_LEAVES[leaf]}"
    elif unit[5] in _LEAVES:
        block, number, layer, norm, leaf = unit.groups()
        layer = layer.replace("conv", "norm") if norm else layer
        return f"stages.{int(block) - 1}.{int(number) - 1}.{layer}.{_LEAVES[leaf]}"
    raise CheckpointError(
        f"{contents.path} looks like a ResNetV2 of TF-slim, but {name} is no part of the layout ({EXPECTED})"
    )


def _turned(tensor: Tensor) -> Tensor:
    """A filter (k, k, C, D) as (D, C, k, k)."""
    return tensor.permute(3, 2, 0, 1).contiguous() if tensor.ndim == 4 else tensor


def _sizes(weights: Mapping[str, Tensor], contents: Contents) -> dict[str, Any]:
    """The units of each block and the widths, as options of the backbone."""
    units: list[int] = []
    while f"stages.{len(units)}.0.conv1.weight" in weights:
        n = 0
        while f"stages.{len(units)}.{n}.conv1.weight" in weights:
            n += 1
        units.append(n)
    try:
        return {
            "units": units,
            "inner": [len(weights[f"stages.{i}.0.conv1.weight"]) for i in range(len(units))],
            "outer": [len(weights[f"stages.{i}.0.conv3.weight"]) for i in range(len(units))],
            "stem": len(weights["conv1.weight"]),
        }
    except KeyError as error:
        raise CheckpointError(
            f"{contents.path} lacks {error.args[0]} of a ResNetV2 of TF-slim; save it whole"
        ) from error


def _logits(head: list[Tensor | None], contents: Contents) -> nn.Sequential:
    weight, bias = head
    if weight is None:
        return nn.Sequential()
    if weight.ndim != 4 or weight.shape[:2] != (1, 1):
        raise CheckpointError(
            f"{contents.path}: logits/weights is {tuple(weight.shape)} instead of (1, 1, C, D)"
        )
    return nn.Sequential(affine_layer(weight[0, 0].T.contiguous(), bias))
