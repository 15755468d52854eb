"""open_clip's image towers: its own vision transformer and those of timm, from settings and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lookalike.images import Preprocessing
from lookalike.models.backbones import create_backbone, load_weights
from lookalike.models.heads import affine_layer
from lookalike.models.image_text.towers import (
    CLIP_MEAN,
    CLIP_STD,
    TowerSizes,
    build_tower,
    not_understood,
    pair_of,
)
from lookalike.models.network import EmbeddingNetwork, assemble

# Options of open_clip's transformer that change its blocks.
_CUSTOM = ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc")
_MODES = {"shortest": "crop", "squash": "squash", "longest": "letterbox"}
_NAMES = (
    ("conv1.", "patch_embed.proj."),
    ("transformer.resblocks.", "blocks."),
    ("ln_pre.", "norm_pre."),
    ("ln_1.", "norm1."),
    ("ln_2.", "norm2."),
    ("ls_1.", "ls1."),
    ("ls_2.", "ls2."),
    ("attn.in_proj_", "attn.qkv."),
    ("attn.out_proj.", "attn.proj."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
)


def open_clip_preprocessing(
    settings: Mapping[str, Any], vision: Mapping[str, Any], name: str
) -> Preprocessing:
    """open_clip's preprocessing, by its defaults where the settings are silent."""
    given = {key: value for key, value in settings.items() if value is not None}
    mean, std = tuple(given.get("mean", CLIP_MEAN)), tuple(given.get("std", CLIP_STD))
    mode = _MODES.get(given.get("resize_mode", "shortest"), "")
    if not mode or (mode == "letterbox" and any(mean)):  # open_clip fills with black, not with the mean color
        raise not_understood(f"the resize mode {given.get('resize_mode')!r}", name)
    interpolation = given.get("interpolation", "bicubic")
    return Preprocessing(
        mode=mode,  # type: ignore[arg-type]
        input_size=pair_of(vision.get("image_size", 224)),
        interpolation="bicubic" if interpolation == "random" else interpolation,
        mean=mean,
        std=std,
    )


def open_clip_tower(
    settings: Mapping[str, Any], tensors: Mapping[str, Tensor], preprocessing: Preprocessing, name: str
) -> EmbeddingNetwork:
    """The image tower that ``model_cfg`` describes. Raises CheckpointError for one that is not understood."""
    vision = settings["vision_cfg"]
    weights = {key.removeprefix("visual."): t for key, t in tensors.items() if key.startswith("visual.")}
    if vision.get("timm_model_name"):
        return _timm_tower(vision, weights, preprocessing, name)
    return _own_tower(settings, vision, weights, preprocessing, name)


def _own_tower(
    settings: Mapping[str, Any],
    vision: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    preprocessing: Preprocessing,
    name: str,
) -> EmbeddingNetwork:
    pool = vision.get("pool_type", "tok")
    if not isinstance(vision.get("layers", 12), int):
        raise not_understood("CLIP's modified ResNet with pooling by attention", name)
    if vision.get("attentional_pool") or pool not in ("tok", "avg"):
        raise not_understood(f"the pooling {vision.get('attentional_pool') or pool!r}", name)
    changed = [key for key in (*_CUSTOM, "norm_kwargs") if vision.get(key)]
    if changed or vision.get("block_type") not in (None, "default"):
        raise not_understood(f"blocks with {', '.join(changed) or 'custom layers'}", name)
    activation = "quick_gelu" if settings.get("quick_gelu") else "gelu"
    if vision.get("act_kwargs"):
        activation = {"tanh": "gelu_pytorch_tanh"}.get(vision["act_kwargs"].get("approximate"), "gelu")
    width = int(vision.get("width", 768))
    more: dict[str, Any] = {}
    if pool == "avg":
        more |= {"global_pool": "avg", "fc_norm": bool(vision.get("final_ln_after_pool"))}
    if vision.get("no_ln_pre"):
        more["pre_norm"] = False
    if vision.get("ls_init_value") is not None:
        more["init_values"] = float(vision["ls_init_value"])
    sizes = TowerSizes(
        activation=activation,
        width=width,
        depth=int(vision.get("layers", 12)),
        heads=width // int(vision.get("head_width", 64)),
        mlp_ratio=float(vision.get("mlp_ratio", 4.0)),
        patch=pair_of(vision.get("patch_size", 16)),
        size=preprocessing.input_size,
    )
    architecture, options = sizes.clip(**more)
    renamed = {_renamed(key, more): value for key, value in weights.items() if key != "proj"}
    renamed["cls_token"] = renamed.pop("class_embedding").reshape(1, 1, -1)
    renamed["pos_embed"] = renamed.pop("positional_embedding")[None]
    if vision.get("no_ln_pre"):
        renamed["patch_embed.proj.bias"] = torch.zeros(width)
    head = nn.Sequential(affine_layer(weights["proj"].T))
    return build_tower(architecture, options, renamed, head, preprocessing)


def _renamed(key: str, options: Mapping[str, Any]) -> str:
    for own, timms in _NAMES:
        key = key.replace(own, timms)
    return key.replace("ln_post.", "fc_norm." if options.get("fc_norm") else "norm.")


def _timm_tower(
    vision: Mapping[str, Any], weights: Mapping[str, Tensor], preprocessing: Preprocessing, name: str
) -> EmbeddingNetwork:
    pool, projection = vision.get("timm_pool", "avg"), vision.get("timm_proj", "linear") or ""
    if pool in ("abs_attn", "rot_attn"):
        raise not_understood(f"the pooling {pool!r}", name)
    architecture = str(vision["timm_model_name"])
    backbone = create_backbone(architecture, **({"global_pool": pool} if pool else {}))
    trunk = {key.removeprefix("trunk."): t for key, t in weights.items() if key.startswith("trunk.")}
    load_weights(backbone, trunk)
    match projection:
        case "none":
            head = None
        case "linear":
            head = nn.Sequential(_linear(weights, "head.proj"))
        case "mlp":
            head = nn.Sequential(
                _linear(weights, "head.mlp.fc1"), nn.GELU(), _linear(weights, "head.mlp.fc2")
            )
        case "":  # the classifier of timm's network is the projection
            classifier = (getattr(backbone.model, "pretrained_cfg", None) or {}).get("classifier", "head")
            head = nn.Sequential(_linear(trunk, str(classifier)))
        case other:
            raise not_understood(f"the projection {other!r}", name)
    return assemble(backbone, {"name": "own"}, head, preprocessing)


def _linear(weights: Mapping[str, Tensor], name: str) -> nn.Linear:
    return affine_layer(weights[f"{name}.weight"], weights.get(f"{name}.bias"))
