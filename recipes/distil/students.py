"""Student networks: a timm backbone, mean pooling and one affine layer; their export for the package."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, final

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import lookalike.models
import lookalike.models.backbones.timm_models  # registers the architectures of this project with timm

from .settings import HintSettings, StudentSettings

_BUNDLED = Path(lookalike.models.__file__).parent / "bundled"

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Student(nn.Module, ABC):
    """Backbone and head. The head commutes with mean pooling, so every cell has its own share."""

    mean: Tensor
    std: Tensor
    pooling: str  # as the package names it

    def __init__(self, backbone: nn.Module, width: int, dims: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Conv2d(width, dims, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        self.register_buffer("mean", torch.tensor(MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(STD)[:, None, None], persistent=False)

    @abstractmethod
    def channels(self, pictures: Tensor) -> Tensor:
        """Input of the head (B, C, h, w) for RGB pictures (B, 3, H, W) in [0, 1]."""

    @abstractmethod
    def with_stages(self, pictures: Tensor) -> tuple[list[Tensor], Tensor]:
        """What is compared with the teacher's stages, (B, C, h, w) each, and local features."""

    def forward(self, pictures: Tensor) -> Tensor:
        """Local features (B, D, h, w); their mean over cells is the embedding."""
        features: Tensor = self.head(self.channels(pictures))
        return features

    def normalized(self, pictures: Tensor) -> Tensor:
        """Pictures as the backbone takes them, channels last."""
        return ((pictures - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


@final
class ConvolutionalStudent(Student):
    """A MobileNetV2 that is compared with every stage of the teacher."""

    pooling = "mean"

    def __init__(self, settings: StudentSettings, **changes: Any) -> None:
        backbone = timm.create_model(
            settings.architecture,
            pretrained=False,
            num_classes=0,
            global_pool="",
            **settings.options | changes,
        )
        super().__init__(backbone, backbone.num_features, settings.dims)
        self.to(memory_format=torch.channels_last)

    def channels(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.backbone(self.normalized(pictures))
        return features

    def with_stages(self, pictures: Tensor) -> tuple[list[Tensor], Tensor]:
        x, stages = self.backbone.bn1(self.backbone.conv_stem(self.normalized(pictures))), []
        for stage in self.backbone.blocks:
            x = stage(x)
            stages.append(x)
        return stages, self.head(self.backbone.bn2(self.backbone.conv_head(x)))


@final
class TransformerStudent(Student):
    """A vision transformer on a frozen convolutional stem; one block is compared with the teacher."""

    pooling = "own"

    def __init__(self, settings: StudentSettings, hint: HintSettings, **changes: Any) -> None:
        backbone = timm.create_model(
            settings.architecture, pretrained=False, num_classes=0, **settings.options | changes
        )
        hint_layer = nn.Conv2d(backbone.embed_dim, hint.channels, 1)
        super().__init__(backbone, backbone.embed_dim, settings.dims)
        self.hint, self.hint_block = hint_layer, hint.block
        self.grid = tuple(backbone.patch_embed.grid_size)
        self.stem = backbone.patch_embed.backbone.requires_grad_(False)
        self.stem.load_state_dict(_stem_tensors(_BUNDLED / hint.stem_of, list(self.stem.state_dict())))

    def train(self, mode: bool = True) -> TransformerStudent:
        """Set the mode of everything but the stem, whose BatchNorm keeps its statistics."""
        super().train(mode)
        self.stem.eval()
        return self

    def channels(self, pictures: Tensor) -> Tensor:
        tokens: Tensor = self.backbone.forward_features(self.normalized(pictures))
        return tokens.mT.unflatten(2, self.grid)

    def with_stages(self, pictures: Tensor) -> tuple[list[Tensor], Tensor]:
        middle, last = self.backbone.forward_intermediates(
            self.normalized(pictures),
            indices=[self.hint_block, len(self.backbone.blocks) - 1],
            intermediates_only=True,
            norm=False,
        )
        normalized = F.layer_norm(middle.movedim(1, -1), middle.shape[1:2]).movedim(-1, 1)
        return [self.hint(normalized)], self.head(self.backbone.norm(last.movedim(1, -1)).movedim(-1, 1))


def _stem_tensors(folder: Path, names: list[str]) -> dict[str, Tensor]:
    tensors, prefix = load_file(folder / "model.safetensors"), "backbone.patch_embed.backbone."
    return {name: tensors[prefix + name] for name in names}


def build_student(settings: StudentSettings, hint: HintSettings | None, *, for_training: bool) -> Student:
    """A student with random weights, as it is trained or as it is used."""
    changes = settings.training_options if for_training else {}
    if settings.kind == "convolutional":
        return ConvolutionalStudent(settings, **changes)
    if settings.kind == "transformer" and hint is not None:
        return TransformerStudent(settings, hint, **changes)
    raise ValueError(f"student is 'convolutional', or 'transformer' with a hint, got {settings.kind!r}")


@torch.inference_mode()
def grid_of(student: Student, input_size: tuple[int, int]) -> tuple[int, int]:
    """Cells (h, w) of the student's grid."""
    h, w = student.eval()(torch.zeros(1, 3, *input_size)).shape[2:]
    return h, w


def export(student: Student, name: str, settings: StudentSettings, folder: Path) -> None:
    """Write model.safetensors (fp16) and config.json, which ``Embedder.load`` reads."""
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
        "name": name,
        "backbone": {"architecture": settings.architecture, "kwargs": settings.options},
        "preprocessing": {
            "mode": "squash",
            "input_size": list(settings.input_size),
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            "mean": list(MEAN),
            "std": list(STD),
        },
        "pooling": {"name": student.pooling},
        "head": [{"layer": "affine"}],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
