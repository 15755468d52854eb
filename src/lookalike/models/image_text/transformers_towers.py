"""Image towers of transformers' CLIPModel and SiglipModel, from settings and weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from lookalike.images import Preprocessing
from lookalike.models.heads import affine_layer
from lookalike.models.image_text.towers import (
    CLIP_MEAN,
    CLIP_STD,
    EPSILONS,
    TowerSizes,
    build_tower,
    not_understood,
    pair_of,
    stacked,
)
from lookalike.models.network import EmbeddingNetwork

FAMILIES = {"clip": "clip", "metaclip_2": "clip", "siglip": "siglip"}  # by model_type; SigLIP 2 is a siglip
_DEFAULTS: dict[str, dict[str, Any]] = {
    "clip": {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "image_size": 224, "patch_size": 32, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5,
    },
    "siglip": {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
        "image_size": 224, "patch_size": 16, "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6,
    },
}  # fmt: skip
_INTERPOLATIONS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers


def vision_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the image tower, by the library's defaults where they are silent."""
    return _DEFAULTS[FAMILIES[config["model_type"]]] | dict(config.get("vision_config") or {})


def transformers_preprocessing(config: Mapping[str, Any], processor: Mapping[str, Any]) -> Preprocessing:
    """The preprocessing that ``preprocessor_config.json`` describes, by the family's defaults without one."""
    is_clip = FAMILIES[config["model_type"]] == "clip"
    size = pair_of(vision_settings(config)["image_size"])
    half = (0.5, 0.5, 0.5)
    target = processor.get("size", {"shortest_edge": size[0]} if is_clip else None)
    shortest = target if isinstance(target, int) else (target or {}).get("shortest_edge")
    share = min(1.0, min(size) / shortest) if shortest and processor.get("do_center_crop", is_clip) else 1.0
    return Preprocessing(
        mode="crop" if shortest else "squash",
        input_size=size,
        crop_pct=share,
        interpolation=_INTERPOLATIONS.get(processor.get("resample", 3), "bicubic"),  # type: ignore[arg-type]
        mean=tuple(processor.get("image_mean", CLIP_MEAN if is_clip else half)),
        std=tuple(processor.get("image_std", CLIP_STD if is_clip else half)),
    )


def transformers_tower(
    config: Mapping[str, Any], tensors: Mapping[str, Tensor], preprocessing: Preprocessing, name: str
) -> EmbeddingNetwork:
    """The image tower that ``config.json`` describes. Raises CheckpointError for an unknown one."""
    family, vision = FAMILIES[config["model_type"]], vision_settings(config)
    if not vision.get("vision_use_head", True):
        raise not_understood("no pooling head", name)
    if vision["layer_norm_eps"] != EPSILONS[family]:
        raise not_understood(f"norms with epsilon {vision['layer_norm_eps']}", name)
    patch_name = "embeddings.patch_embedding.weight"
    prefix = next((key.removesuffix(patch_name) for key in tensors if key.endswith(patch_name)), "")
    weights = {key.removeprefix(prefix): t for key, t in tensors.items() if key.startswith(prefix)}
    sizes = TowerSizes(
        activation=str(vision["hidden_act"]),
        width=int(vision["hidden_size"]),
        depth=int(vision["num_hidden_layers"]),
        heads=int(vision["num_attention_heads"]),
        mlp_ratio=vision["intermediate_size"] / vision["hidden_size"],
        patch=pair_of(vision["patch_size"]),
        size=preprocessing.input_size,
    )
    renamed = _blocks(weights, sizes.depth)
    renamed |= _below(weights, "post_layernorm.", "norm.")
    renamed["pos_embed"] = weights["embeddings.position_embedding.weight"][None]
    renamed |= _below(weights, "embeddings.patch_embedding.", "patch_embed.proj.")
    if family == "siglip":
        architecture, options = sizes.siglip()
        return build_tower(architecture, options, renamed | _pooling(weights), None, preprocessing)
    renamed |= _below(weights, "pre_layrnorm.", "norm_pre.")
    renamed["cls_token"] = weights["embeddings.class_embedding"].reshape(1, 1, -1)
    architecture, options = sizes.clip()
    head = nn.Sequential(affine_layer(tensors["visual_projection.weight"]))
    return build_tower(architecture, options, renamed, head, preprocessing)


def _blocks(weights: Mapping[str, Tensor], depth: int) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for i in range(depth):
        layer, block = f"encoder.layers.{i}.", f"blocks.{i}."
        three = [_below(weights, f"{layer}self_attn.{name}_proj.", "") for name in "qkv"]
        found |= {f"{block}attn.qkv.{name}": stacked(three, name) for name in ("weight", "bias")}  # type: ignore[arg-type]
        found |= _below(weights, f"{layer}self_attn.out_proj.", f"{block}attn.proj.")
        for theirs, ours in (("layer_norm1.", "norm1."), ("layer_norm2.", "norm2."), ("mlp.", "mlp.")):
            found |= _below(weights, layer + theirs, block + ours)
    return found


def _pooling(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """SigLIP's pooling by attention: in_proj joins what timm keeps apart, the query and the pair."""
    found = {"attn_pool.latent": weights["head.probe"]}
    for name in ("weight", "bias"):
        joined = weights[f"head.attention.in_proj_{name}"]
        width = len(joined) // 3
        found |= {f"attn_pool.q.{name}": joined[:width], f"attn_pool.kv.{name}": joined[width:]}
    found |= _below(weights, "head.attention.out_proj.", "attn_pool.proj.")
    found |= _below(weights, "head.layernorm.", "attn_pool.norm.")
    return found | _below(weights, "head.mlp.", "attn_pool.mlp.")


def _below(weights: Mapping[str, Tensor], prefix: str, new: str) -> dict[str, Tensor]:
    return {new + key.removeprefix(prefix): t for key, t in weights.items() if key.startswith(prefix)}
