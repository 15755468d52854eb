"""The student: a timm network, mean pooling and one affine layer; its export for the package."""

from __future__ import annotations

import json
from collections.abc import Sequence
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

    name: str = "mobilenetv2_075"
    kwargs: dict[str, Any] = field(default_factory=lambda: {"output_stride": 16, "pad_type": "same"})
    input_size: tuple[int, int] = (160, 160)  # (h, w) pixels; 10 x 10 places at stride 16
    dims: int = 256


class Student(nn.Module):
    """Backbone and head; ``head`` commutes with mean pooling, so every place has its own share."""

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

    def normalised(self, pictures: Tensor) -> Tensor:
        """RGB in [0, 1] as the backbone wants it."""
        return ((pictures - self.mean) / self.std).contiguous(memory_format=torch.channels_last)

    def channels(self, pictures: Tensor) -> Tensor:
        """RGB in [0, 1], (B, 3, H, W), to what the head is given: (B, C, h, w)."""
        return self.backbone(self.normalised(pictures))

    def forward(self, pictures: Tensor) -> Tensor:
        """RGB in [0, 1] to local features (B, D, h, w); their mean is the embedding."""
        return self.head(self.channels(pictures))

    def first_stages(self, pictures: Tensor) -> Tensor:
        """From pictures to what the second stage says."""
        x = self.backbone.bn1(self.backbone.conv_stem(self.normalised(pictures)))
        return self.backbone.blocks[1](self.backbone.blocks[0](x))

    def last_stage(self, x: Tensor) -> Tensor:
        """From what the seventh stage says to local features."""
        return self.head(self.backbone.bn2(self.backbone.conv_head(x)))

    def stages_apart(self, pictures: Tensor, given: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """What each stage says if it is given what the teacher says before it; local features."""
        said = [self.first_stages(pictures)]
        said += [block(x) for block, x in zip(self.backbone.blocks[2:], given, strict=False)]
        return said, self.last_stage(given[-1])

    def stages_together(self, pictures: Tensor) -> tuple[list[Tensor], Tensor]:
        """What each stage says after the student's own stages before it; local features."""
        said = [self.first_stages(pictures)]
        for block in self.backbone.blocks[2:]:
            said.append(block(said[-1]))
        return said, self.last_stage(said[-1])

    @property
    def widths(self) -> list[int]:
        """Channels after each stage."""
        convolutions = (
            [layer for layer in block.modules() if isinstance(layer, nn.Conv2d)]
            for block in self.backbone.blocks
        )
        return [layers[-1].out_channels for layers in convolutions]


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
