"""The student: a timm network, mean pooling and one affine layer; its export for the package."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Architecture:
    """A timm network by name, and the size of its input and embedding."""

    name: str = "mobilenetv2_100"
    kwargs: dict[str, Any] = field(default_factory=lambda: {"output_stride": 16, "pad_type": "same"})
    input_size: tuple[int, int] = (160, 160)  # (h, w) pixels; 10 x 10 cells at stride 16
    dims: int = 256


class Student(nn.Module):
    """Backbone and head; ``head`` commutes with mean pooling, so every cell has its own share."""

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: Architecture, **changes: Any) -> None:
        super().__init__()
        kwargs = architecture.kwargs | changes
        self.backbone = timm.create_model(
            architecture.name, pretrained=False, num_classes=0, global_pool="", **kwargs
        )
        self.head = nn.Conv2d(self.backbone.num_features, architecture.dims, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)
        self.to(memory_format=torch.channels_last)

    def normalized(self, pictures: Tensor) -> Tensor:
        """RGB in [0, 1] as the backbone wants it."""
        return ((pictures - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def channels(self, pictures: Tensor) -> Tensor:
        """RGB in [0, 1], (B, 3, H, W), to what the head is given: (B, C, h, w)."""
        return self.backbone(self.normalized(pictures))

    def forward(self, pictures: Tensor) -> Tensor:
        """RGB in [0, 1] to local features (B, D, h, w); their mean is the embedding."""
        return self.head(self.channels(pictures))

    def stages_together(self, pictures: Tensor) -> tuple[list[Tensor], Tensor]:
        """What each stage says, and local features."""
        x, said = self.backbone.bn1(self.backbone.conv_stem(self.normalized(pictures))), []
        for stage in self.backbone.blocks:
            x = stage(x)
            said.append(x)
        return said, self.head(self.backbone.bn2(self.backbone.conv_head(x)))


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
        "name": "mini",
        "backbone": {"architecture": architecture.name, "kwargs": architecture.kwargs},
        "preprocessing": {
            "mode": "squash",
            "input_size": list(architecture.input_size),
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "mean": list(MEAN),
            "std": list(STD),
        },
        "pooling": {"name": "mean"},
        "head": [{"layer": "affine"}],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
