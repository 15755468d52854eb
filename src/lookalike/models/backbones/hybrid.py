"""A timm architecture of this project: the first stages of a MobileNetV2, then a transformer."""

from __future__ import annotations

from typing import Any

import timm
from timm.models import register_model
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import HybridEmbed

__all__ = ["vit_mobile_s16"]

_NOT_FOR_THE_NETWORK = {"pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}
STEM_STAGES = 4  # counted as timm counts features: stride 2, 4, 8, 16


@register_model  # type: ignore[untyped-decorator]
def vit_mobile_s16(pretrained: bool = False, **options: Any) -> VisionTransformer:
    """MobileNetV2 (width 0.75) up to stride 16, whose cells are the tokens of a small transformer.

    No CLS token; the embedding is the mean of the tokens. A transformer on convolutions needs fewer
    images for training (Xiao et al., *Early Convolutions Help Transformers See Better*, NeurIPS 2021).
    """
    if pretrained:
        raise RuntimeError("vit_mobile_s16 has no pretrained weights of its own; use 'mini-vit'")
    stem = timm.create_model(
        "mobilenetv2_075", features_only=True, out_indices=(STEM_STAGES - 1,), pad_type="same"
    )

    def embed_layer(**sizes: Any) -> HybridEmbed:
        return HybridEmbed(stem, **sizes)

    shape = {"patch_size": 1, "embed_dim": 192, "depth": 4, "num_heads": 3}
    of_tokens = {"class_token": False, "global_pool": "avg", "fc_norm": False}
    given = {key: value for key, value in options.items() if key not in _NOT_FOR_THE_NETWORK}
    return VisionTransformer(**shape | of_tokens | given, embed_layer=embed_layer)
