"""The networks of the bundled models in torch alone: tensors, steps and results are those of timm.

Importing timm takes longer than importing torch, and what a command of the shell does with a small model
takes less than either. Saved models of these two forms are built here, all others by timm; tests hold both
equal, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lookalike.models.poolings import FeaturePooling, MeanPooling

_STRIDES = (1, 2, 2, 2, 1, 2, 1)  # of the stages, as published
_REPEATS = (1, 2, 3, 4, 3, 3, 1)
_WIDTHS = (16, 24, 32, 64, 96, 160, 320)
_NARROW_WIDTHS = (16, 24, 24, 48, 72, 120, 240)  # times 0.75, rounded to eights
_EXPANSION = 6
_LARGEST, _DEEPEST = 512, 12  # input in pixels, blocks; what asks for more is for timm to check


def bundled_network(architecture: str, options: Mapping[str, Any]) -> nn.Module | None:
    """The network that ``timm.create_model`` would build, with random weights; None for another form."""
    if architecture == "mobilenetv2_100" and options == {"output_stride": 16, "pad_type": "same"}:
        return MobileNet().eval()
    if architecture == "vit_mobile_s16" and set(options) == {"img_size", "depth"}:
        size, depth = options["img_size"], options["depth"]
        if size in range(16, _LARGEST + 1, 16) and depth in range(1, _DEEPEST + 1):
            return MobileTransformer(size, depth).eval()
    return None


@final
class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow does: as much as its stride needs, the odd pixel at the end."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, h, w) to (B, D, h / stride, w / stride), rounded up."""
        rows, columns = (self._missing(x.shape[axis], axis - 2) for axis in (2, 3))
        x = F.pad(x, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))
        return super().forward(x)

    def _missing(self, length: int, axis: int) -> int:
        kernel, stride = self.kernel_size[axis], self.stride[axis]
        return max((-(-length // stride) - 1) * stride + kernel - length, 0)


@final
class NormAct(nn.BatchNorm2d):
    """BatchNorm, and ReLU6 unless told otherwise."""

    def __init__(self, width: int, *, is_linear: bool = False) -> None:
        super().__init__(width)
        self.act = nn.Identity() if is_linear else nn.ReLU6(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps of the same shape."""
        result: Tensor = self.act(super().forward(x))
        return result


@final
class Separable(nn.Module):
    """A convolution within each channel, then one across them."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.conv_dw, self.bn1 = _depthwise(width), NormAct(width)
        self.conv_pw, self.bn2 = nn.Conv2d(width, out, 1, bias=False), NormAct(out, is_linear=True)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, h, w) to (B, D, h, w)."""
        result: Tensor = self.bn2(self.conv_pw(self.bn1(self.conv_dw(x))))
        return result


@final
class InvertedResidual(nn.Module):
    """Widen, filter within channels, narrow; added to what came in where the shape allows it."""

    def __init__(self, width: int, out: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        wide = width * _EXPANSION
        self.conv_pw, self.bn1 = nn.Conv2d(width, wide, 1, bias=False), NormAct(wide)
        self.conv_dw, self.bn2 = _depthwise(wide, stride, dilation), NormAct(wide)
        self.conv_pwl, self.bn3 = nn.Conv2d(wide, out, 1, bias=False), NormAct(out, is_linear=True)
        self.is_added = stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, h, w) to (B, D, h / stride, w / stride)."""
        y: Tensor = self.bn3(self.conv_pwl(self.bn2(self.conv_dw(self.bn1(self.conv_pw(x))))))
        return y + x if self.is_added else y


@final
class MobileNet(nn.Module):
    """MobileNetV2 at stride 16: its last two stages are dilated (Sandler et al., CVPR 2018)."""

    num_classes = 0
    num_features = head_hidden_size = 1280
    stage_ends = (1, 2, 3, 5, 7)  # the last stage at each resolution, and the last

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = SameConv2d(3, 32, 3, stride=2, bias=False), NormAct(32)
        self.blocks = _stages(32, _WIDTHS, dilated_from=5)
        self.conv_head, self.bn2 = nn.Conv2d(320, self.num_features, 1, bias=False), NormAct(1280)
        self.feature_info = [
            {
                "stage": end,
                "reduction": min(2**i, 16),
                "module": f"blocks.{end - 1}",
                "num_chs": _WIDTHS[end - 1],
            }
            for i, end in enumerate(self.stage_ends, 1)
        ]

    def own_pooling(self) -> tuple[FeaturePooling, nn.Sequential]:
        """The mean over the cells, and no layer after it."""
        return MeanPooling(), nn.Sequential()

    def forward_features(self, images: Tensor) -> Tensor:
        """Feature maps (B, 1280, h, w) of images (B, 3, H, W)."""
        maps: Tensor = self.bn2(self.conv_head(self.blocks(self.bn1(self.conv_stem(images)))))
        return maps

    def forward_intermediates(
        self, images: Tensor, indices: Sequence[int], output_fmt: str = "NCHW"
    ) -> tuple[Tensor, list[Tensor]]:
        """The last feature maps, and those of the stages with these numbers in ``feature_info``."""
        wanted = {self.stage_ends[index] for index in indices}
        x = self.bn1(self.conv_stem(images))
        below = []
        for number, stage in enumerate(self.blocks, 1):
            x = stage(x)
            if number in wanted:
                below.append(x)
        return self.bn2(self.conv_head(x)), below

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """The mean over the cells (B, 1280)."""
        return F.adaptive_avg_pool2d(features, 1).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """The mean over the cells (B, 1280)."""
        return self.forward_head(self.forward_features(images))


@final
class MobileTransformer(nn.Module):
    """Stages of a narrow MobileNetV2 whose cells are the tokens of a small transformer, without CLS token."""

    num_classes = num_prefix_tokens = 0
    num_features = head_hidden_size = embed_dim = 192
    global_pool = "avg"

    def __init__(self, size: int, depth: int) -> None:
        super().__init__()
        self.patch_embed = _Patches(self.embed_dim, size)
        self.pos_embed = nn.Parameter(torch.zeros(1, (size // 16) ** 2, self.embed_dim))
        self.blocks = nn.Sequential(*(_Block(self.embed_dim, heads=3) for _ in range(depth)))
        self.norm = nn.LayerNorm(self.embed_dim, eps=1e-6)
        self.fc_norm = nn.Identity()
        self.feature_info = [
            {"module": f"blocks.{i}", "num_chs": self.embed_dim, "reduction": 16} for i in range(depth)
        ]

    def own_pooling(self) -> tuple[FeaturePooling, nn.Sequential]:
        """The mean over the tokens, and no layer after it."""
        return MeanPooling(), nn.Sequential(self.fc_norm)

    def forward_features(self, images: Tensor) -> Tensor:
        """Tokens (B, N, 192) of images (B, 3, H, W)."""
        tokens: Tensor = self.norm(self.blocks(self.patch_embed(images) + self.pos_embed))
        return tokens

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """The mean over the tokens (B, 192)."""
        return features.mean(1)

    def forward(self, images: Tensor) -> Tensor:
        """The mean over the tokens (B, 192)."""
        return self.forward_head(self.forward_features(images))


class _Stem(nn.Module):
    """The narrow MobileNetV2; what follows stride 16 is kept, for it is in the file, and not computed."""

    n_used = 5

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem, self.bn1 = SameConv2d(3, 24, 3, stride=2, bias=False), NormAct(24)
        self.blocks = _stages(24, _NARROW_WIDTHS)

    def forward(self, images: Tensor) -> Tensor:
        x: Tensor = self.bn1(self.conv_stem(images))
        for stage in self.blocks[: self.n_used]:
            x = stage(x)
        return x


class _Patches(nn.Module):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.backbone = _Stem()
        self.proj = nn.Conv2d(_NARROW_WIDTHS[_Stem.n_used - 1], width, 1)
        self.img_size = (size, size)

    def dynamic_feat_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of tokens for an input of size (H, W)."""
        return size[0] // 16, size[1] // 16

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.proj(self.backbone(images))
        return maps.flatten(2).transpose(1, 2)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width, eps=1e-6), _Attention(width, heads)
        self.norm2, self.mlp = nn.LayerNorm(width, eps=1e-6), _Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, n, width = x.shape
        parts = self.qkv(x).reshape(batch, n, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        attended = F.scaled_dot_product_attention(query, key, value)
        y: Tensor = self.proj(attended.transpose(1, 2).reshape(batch, n, width))
        return y


class _Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(self.act(self.fc1(x)))
        return y


def _stages(width: int, widths: Sequence[int], dilated_from: int | None = None) -> nn.Sequential:
    """The stages of a MobileNetV2; from ``dilated_from`` on, dilation takes the place of strides."""
    stages: list[nn.Module] = []
    dilation = 1
    for number, (out, repeats, stride) in enumerate(zip(widths, _REPEATS, _STRIDES, strict=True)):
        if number == 0:
            stages.append(nn.Sequential(Separable(width, out)))
            width = out
            continue
        is_dilated = dilated_from is not None and number >= dilated_from
        first = InvertedResidual(width, out, stride=1 if is_dilated else stride, dilation=dilation)
        dilation = 2 if is_dilated else 1  # for what follows the stride that was dropped
        rest = [InvertedResidual(out, out, dilation=dilation) for _ in range(repeats - 1)]
        stages.append(nn.Sequential(first, *rest))
        width = out
    return nn.Sequential(*stages)


def _depthwise(width: int, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    if stride > 1:
        return SameConv2d(width, width, 3, stride=stride, groups=width, bias=False)
    return nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, groups=width, bias=False)
