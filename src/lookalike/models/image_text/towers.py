"""Image towers as timm backbones: the same weights under timm's names, so that shares are exact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lookalike.errors import CheckpointError
from lookalike.images import Preprocessing
from lookalike.models.backbones import create_backbone, load_weights
from lookalike.models.network import EmbeddingNetwork, assemble

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)

# timm's architectures, whose sizes are replaced: they differ in what no option says, the epsilon of norms.
_CLIP, _QUICK_CLIP, _SIGLIP = (
    "vit_base_patch16_clip_224", "vit_base_patch16_clip_quickgelu_224", "vit_base_patch16_siglip_224",
)  # fmt: skip
EPSILONS = {"clip": 1e-5, "siglip": 1e-6}
_ACTIVATIONS = {"gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "quick_gelu": "quick_gelu"}


def build_tower(
    architecture: str,
    options: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    head: nn.Sequential | None,
    preprocessing: Preprocessing,
) -> EmbeddingNetwork:
    """The network of an image tower. Raises CheckpointError for weights of another architecture."""
    backbone = create_backbone(architecture, **options)
    load_weights(backbone, weights)
    return assemble(backbone, {"name": "own"}, head, preprocessing)


@dataclass(frozen=True)
class TowerSizes:
    """What a vision transformer of CLIP or SigLIP is made of."""

    activation: str  # as transformers names it
    width: int
    depth: int
    heads: int
    mlp_ratio: float
    patch: tuple[int, int]  # (H, W) pixels
    size: tuple[int, int]  # (H, W) pixels of the input

    def clip(self, **more: Any) -> tuple[str, dict[str, Any]]:
        """The architecture and options of CLIP's vision transformer in timm."""
        if self.activation == "quick_gelu":
            return _QUICK_CLIP, self._options() | more
        return _CLIP, self._options() | self._activation() | more

    def siglip(self) -> tuple[str, dict[str, Any]]:
        """The architecture and options of SigLIP's vision transformer in timm."""
        return _SIGLIP, self._options() | self._activation()

    def _options(self) -> dict[str, Any]:
        return {
            "embed_dim": self.width,
            "depth": self.depth,
            "num_heads": self.heads,
            "mlp_ratio": self.mlp_ratio,
            "patch_size": self.patch[0] if self.patch[0] == self.patch[1] else list(self.patch),
            "img_size": list(self.size),
        }

    def _activation(self) -> dict[str, Any]:
        if self.activation not in _ACTIVATIONS:
            known = ", ".join(_ACTIVATIONS)
            raise CheckpointError(f"the activation {self.activation!r} is not understood; known are {known}")
        return {} if self.activation == "gelu" else {"act_layer": _ACTIVATIONS[self.activation]}


def stacked(layers: list[Mapping[str, Tensor]], name: str) -> Tensor:
    """One tensor of several layers, joined along the outputs: query, key, value."""
    return torch.cat([layer[name] for layer in layers])


def pair_of(value: Any) -> tuple[int, int]:
    """A size that is one number or two, (H, W)."""
    sides = (value, value) if isinstance(value, int) else tuple(value)
    if len(sides) != 2 or not all(isinstance(side, int) and side > 0 for side in sides):
        raise CheckpointError(f"a size is one whole number or two, got {value!r}; check the model's settings")
    return int(sides[0]), int(sides[1])


def not_understood(what: str, name: str) -> CheckpointError:
    """The error for an image tower whose layers would be guesses."""
    return CheckpointError(
        f"the image tower of {name} has {what}, which is not understood here; choose a CLIP, SigLIP or "
        "MobileCLIP model"
    )
