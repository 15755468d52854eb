"""Convolutions of VGG and AlexNet under timm's interface, up to their last ReLU.

timm's VGG has two large layers more, which no retrieval network keeps, and AlexNet it has not. Tensors are
named as in torchvision's ``features``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from timm.models import register_model
from torch import Tensor, nn

__all__ = ["PlainTrunk", "alexnet_trunk", "vgg_trunk"]

POOL = 0  # among the widths of a VGG
_VGG16 = (64, 64, POOL, 128, 128, POOL, 256, 256, 256, POOL, 512, 512, 512, POOL, 512, 512, 512)


@final
class PlainTrunk(nn.Module):
    """Layers one after the other, numbered; its output is their map."""

    def __init__(self, layers: Sequence[nn.Module], width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*layers)
        self.num_classes = 0
        self.num_features = self.head_hidden_size = width

    def forward_features(self, images: Tensor) -> Tensor:
        """Feature maps (B, C, h, w) of images (B, 3, H, W)."""
        maps: Tensor = self.features(images)
        return maps

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """The mean over the cells (B, C)."""
        return features.mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """The mean over the cells (B, C)."""
        return self.forward_head(self.forward_features(images))


@register_model  # type: ignore[untyped-decorator]
def vgg_trunk(pretrained: bool = False, widths: Sequence[int] = _VGG16, **options: Any) -> PlainTrunk:
    """VGG of 3 x 3 convolutions of these ``widths``, 0 is a pooling; Simonyan and Zisserman, ICLR 2015."""
    _check_random(pretrained)
    layers: list[nn.Module] = []
    channels = 3
    for width in widths:
        if width == POOL:
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
            channels = width
    return PlainTrunk(layers, channels)


@register_model  # type: ignore[untyped-decorator]
def alexnet_trunk(pretrained: bool = False, **options: Any) -> PlainTrunk:
    """AlexNet as torchvision has it. Krizhevsky, *One weird trick for parallelizing convolutional neural
    networks*, 2014.
    """
    _check_random(pretrained)
    layers = [
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
    ]  # fmt: skip
    return PlainTrunk(layers, 256)


def _check_random(pretrained: bool) -> None:
    if pretrained:
        raise RuntimeError("this trunk has no pretrained weights; load a checkpoint of a retrieval network")
