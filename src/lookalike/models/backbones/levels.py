"""Three feature levels of one backbone, low to high, for AVSL."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from lookalike.errors import UnsupportedMethodError
from lookalike.models.backbones.backbone import Backbone, is_channels_last

N_LEVELS = 3


LevelChoice = Literal["resolutions", "last"]


def level_widths(backbone: Backbone, choice: LevelChoice = "resolutions") -> tuple[int, ...]:
    """Channels of the three levels. Raises UnsupportedMethodError for a backbone without them."""
    info: Any = backbone.model.feature_info
    below = [int(info[stage]["num_chs"]) for stage in _stages(backbone, choice)]
    return *below, int(backbone.model.num_features)  # type: ignore[arg-type]


def level_maps(backbone: Backbone, images: Tensor, choice: LevelChoice = "resolutions") -> tuple[Tensor, ...]:
    """Feature maps (B, C, h, w) of images (B, 3, H, W) at three levels, low to high.

    The last is what the backbone ends with, so the levels of a ResNet are those of the AVSL paper
    and the highest of a MobileNet is the one that its classifier sees. Below it are the last stages at
    the next finer ``resolutions``, as published, or the ``last`` two stages, where a convolution follows
    them; BN-Inception has the levels of AVSL's code. Raises UnsupportedMethodError for a backbone without
    such levels.
    """
    stages = _stages(backbone, choice)
    model: Any = backbone.model
    last, below = model.forward_intermediates(images, indices=stages, output_fmt="NCHW")
    if is_channels_last(model, last):
        last = last.permute(0, 3, 1, 2)
    return *below, last


def _stages(backbone: Backbone, choice: LevelChoice) -> list[int]:
    """The stages of the two lower levels."""
    model: Any = backbone.model
    info = getattr(model, "feature_info", None)
    info = info if isinstance(info, list) and hasattr(model, "forward_intermediates") else []
    last_of = {int(stage["reduction"]): i for i, stage in enumerate(info)}  # reduction -> stage
    if len(last_of) < N_LEVELS:
        raise UnsupportedMethodError(
            f"AVSL needs feature maps at {N_LEVELS} resolutions and {backbone.architecture} has "
            f"{len(last_of)}; choose a convolutional network such as resnet50 or mobilenetv2_100"
        )
    if choice == "resolutions" and hasattr(model, "published_levels"):
        return list(model.published_levels)
    if choice == "resolutions":
        return [last_of[reduction] for reduction in sorted(last_of)[-N_LEVELS:-1]]
    if int(info[-1]["num_chs"]) == int(model.num_features):
        raise UnsupportedMethodError(
            f"levels=last needs a convolution after the last stage, and {backbone.architecture} ends with "
            "that stage; choose levels=resolutions"
        )
    return [len(info) - 2, len(info) - 1]
