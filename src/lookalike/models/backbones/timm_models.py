"""Backbones made by timm, its own architectures and those of this project; ``making`` is the door here."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import timm
from timm import layers as timm_layers
from timm.data import resolve_data_config
from timm.models import load_model_config_from_hf
from torch import nn

from lookalike.errors import LookalikeError, UnknownModelError, first_line
from lookalike.images import Preprocessing

# imported for what they register with timm
from lookalike.models.backbones import (  # noqa: F401
    bit_resnet_v2,
    bn_inception,
    hybrid,
    plain_trunks,
    slim_resnet_v2,
    transformers_trunk,
)
from lookalike.models.backbones.backbone import Backbone


def timm_backbone(architecture: str, options: Mapping[str, Any], *, pretrained: bool) -> Backbone:
    """See ``create_backbone``."""
    timm_options = {key: value for key, value in options.items() if key != "std_conv_eps"}
    model = _create(architecture, pretrained, timm_options)
    for module in model.modules():
        if "std_conv_eps" in options and isinstance(module, timm_layers.StdConv2d):
            module.eps = options["std_conv_eps"]
    return Backbone(model.eval(), *_without_hub(architecture, options))


def resize(backbone: Backbone, size: tuple[int, int]) -> None:
    """See ``resize_backbone``."""
    set_size = getattr(backbone.model, "set_input_size", None)
    _check_size(backbone, size)
    if set_size is None:
        return
    try:
        set_size(img_size=size)
    except (AssertionError, ValueError, RuntimeError, TypeError) as error:
        raise LookalikeError(
            f"{backbone.architecture} can't take input of {size[0]}x{size[1]}: {first_line(error)}; "
            "choose a size that its patches and windows divide"
        ) from error


def _check_size(backbone: Backbone, size: tuple[int, int]) -> None:
    """Raise LookalikeError for a size that the model can't take, or only by dropping pixels."""
    patch_embed = getattr(backbone.model, "patch_embed", None)
    if not isinstance(patch_embed, timm_layers.PatchEmbed) or patch_embed.img_size is None:
        return
    own, (height, width) = tuple(patch_embed.img_size), patch_embed.patch_size
    if tuple(size) == own:
        return
    if patch_embed.strict_img_size and not hasattr(backbone.model, "set_input_size"):
        raise LookalikeError(
            f"{backbone.architecture} takes input of {own[0]}x{own[1]} only, got {size[0]}x{size[1]}"
        )
    if (size[0] % height or size[1] % width) and not patch_embed.dynamic_img_pad:
        raise LookalikeError(
            f"{backbone.architecture} can't take input of {size[0]}x{size[1]}: its patches are "
            f"{height}x{width} pixels; choose multiples of them"
        )


def evaluation_preprocessing(backbone: Backbone) -> Preprocessing:
    """See ``preprocessing_of``."""
    config = resolve_data_config({}, model=backbone.model)
    mode = {"squash": "squash", "border": "letterbox"}.get(config["crop_mode"], "crop")
    return Preprocessing(
        mode=mode,  # type: ignore[arg-type]
        input_size=tuple(config["input_size"][1:]),
        crop_pct=float(config["crop_pct"]),
        interpolation=config["interpolation"] if config["interpolation"] != "random" else "bicubic",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def names_like(pattern: str, *, pretrained: bool) -> list[str]:
    """See ``model_names``."""
    wildcard = pattern if "*" in pattern else f"*{pattern}*"
    names: list[str] = timm.list_models(wildcard, pretrained=pretrained)
    return names


def _create(architecture: str, pretrained: bool, options: Mapping[str, Any]) -> nn.Module:
    if ":" not in architecture and not timm.is_model(architecture.split(".")[0]):
        near = difflib.get_close_matches(architecture, timm.list_models(), n=3)
        hint = f" (did you mean {', '.join(near)}?)" if near else ""
        raise UnknownModelError(
            f"no model is called {architecture!r}{hint}; a model is 'mini', a timm name, hf-hub:owner/name, "
            "a folder saved by Embedder.save, or a checkpoint file; see 'lookalike models'"
        )
    if "num_classes" in options:
        raise UnknownModelError(
            f"num_classes can't be set for {architecture!r}: an embedder has no classifier; leave it out"
        )
    try:
        model: nn.Module = timm.create_model(architecture, pretrained=pretrained, num_classes=0, **options)
    except (OSError, RuntimeError, LookupError, ValueError, TypeError) as error:
        raise UnknownModelError(
            f"model {architecture!r} could not be made{' with its pretrained weights' * pretrained}: "
            f"{first_line(error)}; check the name, the options and the network"
        ) from error
    return model


def _without_hub(architecture: str, options: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The timm name and options with which a hub model's architecture is built without the hub."""
    if not architecture.startswith(("hf-hub:", "hf_hub:")):
        return architecture, options
    _, name, of_hub = load_model_config_from_hf(architecture.partition(":")[2])
    of_hub = {key: value for key, value in (of_hub or {}).items() if key != "num_classes"}
    return str(name), {**of_hub, **options}
