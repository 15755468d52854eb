"""ResNetV2 as BiT has it, with any number of units in its blocks; timm's own have names for a few."""

from __future__ import annotations

from functools import partial
from typing import Any

from timm.layers import StdConv2d
from timm.models import register_model
from timm.models.resnetv2 import ResNetV2

__all__ = ["bit_resnet_v2"]

_OPTIONS = ("layers", "channels", "stem_chs", "width_factor", "num_classes", "in_chans")


@register_model  # type: ignore[untyped-decorator]
def bit_resnet_v2(pretrained: bool = False, **options: Any) -> ResNetV2:
    """ResNetV2 with weight-standardized convolutions and GroupNorm; ``layers`` are the units of a block."""
    if pretrained:
        raise RuntimeError(
            "bit_resnet_v2 has no pretrained weights; load a checkpoint, or choose resnetv2_50x1_bit"
        )
    return ResNetV2(
        stem_type="fixed",
        conv_layer=partial(StdConv2d, eps=1e-8),
        **{name: value for name, value in options.items() if name in _OPTIONS},
    )
