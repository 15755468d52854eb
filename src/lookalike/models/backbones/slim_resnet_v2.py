"""ResNetV2 as TF-slim builds it, under timm's interface: the networks of the WACV 2019 demo.

He, Zhang, Ren, Sun, *Identity Mappings in Deep Residual Networks*, ECCV 2016, in the variant of TF-slim:
strides stand in the last unit of a block, shortcuts of equal width are subsampled without weights, and
the first pooling is padded at the end only (``SAME``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from timm.models import register_model
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SlimResNetV2", "slim_resnet_v2"]

_NOT_FOR_THE_NETWORK = {"pretrained_cfg", "pretrained_cfg_overlay", "cache_dir"}


@final
class SlimResNetV2(nn.Module):
    """A ResNetV2 of TF-slim up to its last feature map, after the last norm and ReLU.

    It takes RGB images of levels 0 to 255, turns them to the BGR of its weights and subtracts the mean
    image. ``units`` are those of each block, ``inner`` and ``outer`` the widths of their middle and last
    convolutions.
    """

    def __init__(
        self,
        units: Sequence[int] = (3, 4, 6, 3),
        inner: Sequence[int] = (64, 128, 256, 512),
        outer: Sequence[int] = (256, 512, 1024, 2048),
        stem: int = 64,
        mean_size: Sequence[int] = (224, 224),
        num_classes: int = 0,
        in_chans: int = 3,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.register_buffer("mean_image", torch.zeros(in_chans, *mean_size))  # BGR
        self.conv1 = nn.Conv2d(in_chans, stem, 7, stride=2, padding=3)
        blocks, channels, reduction = [], stem, 4
        self.feature_info: list[dict[str, Any]] = []
        for i, (n, middle, width) in enumerate(zip(units, inner, outer, strict=True)):
            strides = [1] * (n - 1) + [2 if i < len(units) - 1 else 1]
            widths = [channels, *[width] * (n - 1)]
            blocks.append(
                nn.Sequential(*(_Unit(c, middle, width, s) for c, s in zip(widths, strides, strict=True)))
            )
            channels, reduction = width, reduction * strides[-1]
            self.feature_info.append({"num_chs": width, "reduction": reduction, "module": f"stages.{i}"})
        self.stages = nn.Sequential(*blocks)
        self.postnorm = nn.BatchNorm2d(channels)
        self.num_features = self.head_hidden_size = channels

    def forward_features(self, images: Tensor) -> Tensor:
        """Feature maps (B, C, h, w) of images (B, 3, H, W) of levels 0 to 255."""
        mean: Tensor = self.mean_image  # type: ignore[assignment]
        if mean.shape[1:] != images.shape[2:]:  # another input size than the mean image's
            mean = F.interpolate(mean[None], images.shape[2:], mode="bilinear", antialias=True)[0]
        x = self.conv1(images.flip(1) - mean)
        x = F.max_pool2d(_padded_same(x), 3, 2)
        return F.relu(self.postnorm(self.stages(x)))

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """The mean over the cells (B, C)."""
        return features.mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """The mean over the cells (B, C)."""
        return self.forward_head(self.forward_features(images))


class _Unit(nn.Module):
    """A bottleneck: norm and ReLU first, then convolutions of 1, 3 and 1; the middle one has the stride."""

    def __init__(self, channels: int, middle: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.preact = nn.BatchNorm2d(channels)
        self.shortcut = nn.Conv2d(channels, width, 1, stride=stride) if channels != width else None
        self.conv1 = nn.Conv2d(channels, middle, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(middle)
        self.conv2 = nn.Conv2d(middle, middle, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(middle)
        self.conv3 = nn.Conv2d(middle, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, h, w) to (B, D, h, w), or to every second row and column."""
        active = F.relu(self.preact(x))
        if self.shortcut is not None:
            shortcut = self.shortcut(active)
        else:
            shortcut = x[:, :, :: self.stride, :: self.stride]
        y = F.relu(self.norm1(self.conv1(active)))
        y = F.relu(self.norm2(self.conv2(y)))
        result: Tensor = shortcut + self.conv3(y)
        return result


def _padded_same(x: Tensor) -> Tensor:
    """Padded for a pooling of 3 with stride 2 as TensorFlow's SAME: half before, the odd one after."""
    ends = []
    for n in (x.shape[3], x.shape[2]):
        total = max((-(-n // 2) - 1) * 2 + 3 - n, 0)
        ends += [total // 2, total - total // 2]
    return F.pad(x, ends, value=-torch.inf)


@register_model  # type: ignore[untyped-decorator]
def slim_resnet_v2(pretrained: bool = False, **options: Any) -> SlimResNetV2:
    """ResNetV2 of TF-slim; its weights come from a checkpoint."""
    if pretrained:
        raise RuntimeError("slim_resnet_v2 has no pretrained weights; load a checkpoint of TF-slim")
    return SlimResNetV2(**{key: value for key, value in options.items() if key not in _NOT_FOR_THE_NETWORK})
