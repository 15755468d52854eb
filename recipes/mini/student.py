"""The student: a timm network, mean pooling and one affine layer; its export for the package."""

from __future__ import annotations

import json
from collections.abc import Mapping
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

    name: str = "regnetx_002"
    kwargs: dict[str, Any] = field(default_factory=lambda: {"output_stride": 16})
    input_size: tuple[int, int] = (160, 160)  # (h, w) pixels; 10 x 10 places at stride 16
    dims: int = 256


class Student(nn.Module):
    """Backbone and head; ``head`` commutes with mean pooling, so every place has its own share."""

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.backbone = timm.create_model(
            architecture.name, pretrained=False, num_classes=0, global_pool="", **architecture.kwargs
        )
        self.head = nn.Conv2d(self.backbone.num_features, architecture.dims, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)
        self.to(memory_format=torch.channels_last)

    def normalised(self, pictures: Tensor) -> Tensor:
        """RGB in [0, 1] as the backbone wants it."""
        return ((pictures - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def forward(self, pictures: Tensor) -> Tensor:
        """RGB in [0, 1], (B, 3, H, W), to local features (B, D, h, w); their mean is the embedding."""
        return self.head(self.backbone(self.normalised(pictures)))


class Distiller(nn.Module):
    """The student with the helpers that only training needs: a linear reader at each middle stage."""

    def __init__(self, student: Student, stage_widths: Mapping[int, int]) -> None:
        super().__init__()
        self.student = student
        info = student.backbone.feature_info
        info = info.info if hasattr(info, "info") else info
        self.indices = {}  # stride -> the last middle stage with it, never the last stage of all
        for index, stage in enumerate(info[:-1]):
            if stage["reduction"] in stage_widths:
                self.indices[stage["reduction"]] = index
        self.readers = nn.ModuleDict(
            {
                str(stride): nn.Conv2d(info[index]["num_chs"], stage_widths[stride], 1)
                for stride, index in self.indices.items()
            }
        )

    def forward(self, pictures: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Local features (B, D, h, w) and what the readers make of the middle stages."""
        backbone = self.student.backbone
        last, middle = backbone.forward_intermediates(
            self.student.normalised(pictures), indices=list(self.indices.values())
        )
        read = {
            stride: self.readers[str(stride)](stage)
            for stride, stage in zip(self.indices, middle, strict=True)
        }
        return self.student.head(last), read


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
