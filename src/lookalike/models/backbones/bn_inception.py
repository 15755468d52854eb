"""BN-Inception, which timm lacks, under timm's interface and with the published names of its weights.

Ioffe and Szegedy, *Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate
Shift*, ICML 2015. The second backbone of metric learning (Proxy-Anchor, AVSL) beside ResNet-50.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torch.hub import load_state_dict_from_url
from torch.nn import functional as F

from lookalike.errors import first_line
from lookalike.models.backbones.cadene import published_weights

__all__ = ["BnInception", "bninception"]

_URL = "http://data.lip6.fr/cadene/pretrainedmodels/bn_inception-52deb4733.pth"
_MEAN_BGR = (104, 117, 128)  # of 0 to 255, as in Caffe; the deviation is one level


default_cfgs = generate_default_cfgs(
    {
        "bninception.cadene_in1k": {
            "url": _URL,
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "mean": tuple(level / 255 for level in reversed(_MEAN_BGR)),
            "std": (1 / 255,) * 3,
            "first_conv": "conv1_7x7_s2",
            "classifier": "last_linear",
        }
    }
)


@dataclass(frozen=True)
class _Sizes:
    """Channels of an Inception block; 0 for a branch that it does not have."""

    one: int  # 1 x 1
    three: tuple[int, int]  # 1 x 1, then 3 x 3
    double: tuple[int, int]  # 1 x 1, then twice 3 x 3
    pool: int  # 1 x 1 after the pooling
    is_max: bool = False  # of the pooling
    stride: int = 1

    def width(self, channels: int) -> int:
        """Channels that come out."""
        return self.one + self.three[1] + self.double[1] + (self.pool or channels)


_BLOCKS = {
    "3a": _Sizes(64, (64, 64), (64, 96), 32),
    "3b": _Sizes(64, (64, 96), (64, 96), 64),
    "3c": _Sizes(0, (128, 160), (64, 96), 0, is_max=True, stride=2),
    "4a": _Sizes(224, (64, 96), (96, 128), 128),
    "4b": _Sizes(192, (96, 128), (96, 128), 128),
    "4c": _Sizes(160, (128, 160), (128, 160), 128),
    "4d": _Sizes(96, (128, 192), (160, 192), 128),
    "4e": _Sizes(0, (128, 192), (192, 256), 0, is_max=True, stride=2),
    "5a": _Sizes(352, (192, 320), (160, 224), 128),
    "5b": _Sizes(352, (192, 320), (192, 224), 128, is_max=True),
}
_AVSL_LEVELS = ("4b", "4e")  # below the last block, as in the code of Zhang et al., CVPR 2022


@final
class BnInception(nn.Module):
    """BN-Inception with the modules' names of pretrained-models.pytorch.

    It takes RGB images, normalized to levels less their mean, and turns them to the BGR of its weights.
    """

    stem: nn.Sequential
    stages: nn.ModuleList

    def __init__(self, num_classes: int = 1000, global_pool: str = "avg", in_chans: int = 3) -> None:
        super().__init__()
        self.num_classes, self.global_pool = num_classes, global_pool
        stem = [
            *self._layer("conv1_7x7_s2", in_chans, 64, 7, stride=2),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
            *self._layer("conv2_3x3_reduce", 64, 64, 1),
            *self._layer("conv2_3x3", 64, 192, 3),
            nn.MaxPool2d(3, stride=2, ceil_mode=True),
        ]
        channels, reduction = 192, 8
        blocks: list[nn.Module] = []
        self.feature_info: list[dict[str, Any]] = []
        for name, sizes in _BLOCKS.items():
            blocks.append(_Block(partial(self._layer_of, f"inception_{name}"), channels, sizes))
            channels, reduction = sizes.width(channels), reduction * sizes.stride
            self.feature_info.append(
                {"num_chs": channels, "reduction": reduction, "module": f"inception_{name}"}
            )
        # The layers above hold all weights, under their flat published names; stem and blocks are views of
        # them in their order, and no modules of this one: else each weight would have two names.
        self.__dict__["stem"], self.__dict__["stages"] = nn.Sequential(*stem), nn.ModuleList(blocks)
        self.num_features = self.head_hidden_size = channels
        self.published_levels = tuple(list(_BLOCKS).index(name) for name in _AVSL_LEVELS)
        self.last_linear = nn.Linear(channels, num_classes) if num_classes else nn.Identity()

    def forward_features(self, images: Tensor) -> Tensor:
        """Feature maps (B, 1024, h, w) of images (B, 3, H, W)."""
        return self.forward_intermediates(images, indices=())[0]

    def forward_intermediates(
        self, images: Tensor, indices: Sequence[int], output_fmt: str = "NCHW"
    ) -> tuple[Tensor, list[Tensor]]:
        """The last feature maps, and those after the blocks of these numbers."""
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt is NCHW, got {output_fmt!r}")
        x, found = self.stem(images.flip(1)), []
        for i, block in enumerate(self.stages):
            x = block(x)
            if i in indices:
                found.append(x)
        return x, found

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """The mean over the cells (B, 1024), or the classes' logits."""
        pooled = features.mean((2, 3))
        result: Tensor = pooled if pre_logits else self.last_linear(pooled)
        return result

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes), or the mean over the cells without classes."""
        return self.forward_head(self.forward_features(images))

    def _layer(
        self, name: str, channels: int, width: int, size: int, *, stride: int = 1
    ) -> tuple[nn.Module, ...]:
        """Convolution with bias, BatchNorm and ReLU; registers them under the published names."""
        convolution = nn.Conv2d(channels, width, size, stride=stride, padding=size // 2)
        norm, activation = nn.BatchNorm2d(width), nn.ReLU()
        self.add_module(name, convolution)
        self.add_module(f"{name}_bn", norm)
        return convolution, norm, activation

    def _layer_of(self, block: str, name: str, *sizes: int, stride: int = 1) -> tuple[nn.Module, ...]:
        return self._layer(f"{block}_{name}", *sizes, stride=stride)


class _Block(nn.Module):
    """Branches side by side, whose maps are joined along the channels."""

    def __init__(self, layer: Callable[..., tuple[nn.Module, ...]], channels: int, sizes: _Sizes) -> None:
        super().__init__()
        reduced, three = sizes.three
        narrow, double = sizes.double
        branches = []
        if sizes.one:
            branches.append(nn.Sequential(*layer("1x1", channels, sizes.one, 1)))
        branches += [
            nn.Sequential(
                *layer("3x3_reduce", channels, reduced, 1),
                *layer("3x3", reduced, three, 3, stride=sizes.stride),
            ),
            nn.Sequential(
                *layer("double_3x3_reduce", channels, narrow, 1),
                *layer("double_3x3_1", narrow, double, 3),
                *layer("double_3x3_2", double, double, 3, stride=sizes.stride),
            ),
        ]
        if not sizes.pool:  # halves the grid, without padding
            branches.append(nn.Sequential(_Halving()))
        else:
            pool = nn.MaxPool2d(3, 1, padding=1) if sizes.is_max else nn.AvgPool2d(3, 1, padding=1)
            branches.append(nn.Sequential(pool, *layer("pool_proj", channels, sizes.pool, 1)))
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, h, w) to (B, D, h, w), or to half as many rows and columns."""
        return torch.cat([branch(x) for branch in self.branches], dim=1)


class _Halving(nn.Module):
    """Max pooling over 3 x 3 at every second row and column, as many as a padded convolution gives.

    Without padding a grid of odd sides, which the published network can't take, would lack the last.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, h, w) to half as many rows and columns, rounded up."""
        odd = (0, x.shape[3] % 2, 0, x.shape[2] % 2)
        padded = F.pad(x, odd, value=-torch.inf) if any(odd) else x
        return F.max_pool2d(padded, 3, 2, ceil_mode=True)


@register_model  # type: ignore[untyped-decorator]
def bninception(pretrained: bool = False, **options: Any) -> BnInception:
    """BN-Inception, with ImageNet weights converted from Caffe by Cadene if ``pretrained``."""
    model: BnInception = build_model_with_cfg(BnInception, "bninception", False, **options)
    if pretrained:
        weights = published_weights(_fetched())
        model.load_state_dict({name: weights[name] for name in model.state_dict()})
    return model


def _fetched() -> dict[str, Tensor]:
    """The published file, kept in torch's cache; its name has its hash, which is held against it.

    timm's own loading does not check the hash, and the address is one without encryption.
    """
    try:
        weights: dict[str, Tensor] = load_state_dict_from_url(
            _URL, map_location="cpu", check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        name = _URL.rpartition("/")[2]
        raise RuntimeError(f"{first_line(error)}; if you have {name}, give that file as the model") from error
    return weights
