"""The transformer student: patch tokens, their mean, one affine layer; its export for the package."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import lookalike.models.backbones  # noqa: F401  (registers the architecture)

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Architecture:
    """A timm vision transformer by name, its size, and where it is told what the teacher sees half-way."""

    name: str = "vit_mobile_s16"
    kwargs: dict[str, Any] = field(default_factory=lambda: {"img_size": 160, "depth": 4})
    input_size: tuple[int, int] = (160, 160)  # (h, w) pixels; 10 x 10 cells
    dims: int = 256
    hints: tuple[tuple[int, int], ...] = ((1, 192),)  # block, and channels of the teacher it learns


class Student(nn.Module):
    """Backbone and head; ``head`` commutes with the mean over tokens, so every cell has its own share.

    The convolutional stem is that of the first ``mini``, and stands still; it is read from a saved
    ``mini-vit``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: Architecture, saved: Path) -> None:
        super().__init__()
        self.backbone = timm.create_model(
            architecture.name, pretrained=False, num_classes=0, **architecture.kwargs
        )
        self.stem = self.backbone.patch_embed.backbone.requires_grad_(False)
        tensors, prefix = load_file(saved / "model.safetensors"), "backbone.patch_embed.backbone."
        self.stem.load_state_dict({key: tensors[prefix + key] for key in self.stem.state_dict()})
        width = self.backbone.embed_dim
        self.grid = tuple(self.backbone.patch_embed.grid_size)
        self.hint_blocks = [block for block, _ in architecture.hints]
        self.hints = nn.ModuleList(nn.Conv2d(width, channels, 1) for _, channels in architecture.hints)
        self.head = nn.Conv2d(width, architecture.dims, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    def train(self, mode: bool = True) -> Student:
        """As usual, but for the statistics of the stem."""
        super().train(mode)
        self.stem.eval()
        return self

    def channels(self, pictures: Tensor) -> Tensor:
        """RGB in [0, 1], (B, 3, H, W), to what the head is given: (B, C, h, w)."""
        return self._map(self.backbone.forward_features(self._normalized(pictures)))

    def forward(self, pictures: Tensor) -> Tensor:
        """RGB in [0, 1] to local features (B, D, h, w); their mean is the embedding."""
        return self.head(self.channels(pictures))

    def with_hints(self, pictures: Tensor) -> tuple[list[Tensor], Tensor]:
        """What the blocks in the middle say in the teacher's words, and local features."""
        middle: list[Tensor] = self.backbone.forward_intermediates(
            self._normalized(pictures),
            indices=[*self.hint_blocks, len(self.backbone.blocks) - 1],
            intermediates_only=True,
            norm=False,
        )
        even = [
            F.layer_norm(tokens.movedim(1, -1), tokens.shape[1:2]).movedim(-1, 1) for tokens in middle[:-1]
        ]
        said = [hint(tokens) for hint, tokens in zip(self.hints, even, strict=True)]
        last = self.backbone.norm(middle[-1].movedim(1, -1)).movedim(-1, 1)
        return said, self.head(last)

    def _normalized(self, pictures: Tensor) -> Tensor:
        return ((pictures - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def _map(self, tokens: Tensor) -> Tensor:
        return tokens.mT.unflatten(2, self.grid)


def export(student: Student, architecture: Architecture, folder: Path) -> None:
    """Write model.safetensors (fp16) and config.json, as the package reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"backbone.{key}": value for key, value in student.backbone.state_dict().items()}
    tensors["head.0.weight"] = student.head.weight.flatten(1)
    tensors["head.0.bias"] = student.head.bias
    save_file(
        {
            key: (value.half() if value.is_floating_point() else value).detach().contiguous()
            for key, value in tensors.items()
        },
        folder / "model.safetensors",
    )
    config = {
        "format": 1,
        "name": "mini-vit",
        "backbone": {"architecture": architecture.name, "kwargs": architecture.kwargs},
        "preprocessing": {
            "mode": "squash",
            "input_size": list(architecture.input_size),
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "mean": list(MEAN),
            "std": list(STD),
        },
        "pooling": {"name": "own"},
        "head": [{"layer": "affine"}],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
