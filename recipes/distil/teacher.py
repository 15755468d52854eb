"""The teacher, and what the student learns of it: maps projected to the width of the embedding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = "weights/mobilenetv2_100_imagenet1001.safetensors"
INPUT_SIZE = (224, 224)


@dataclass(frozen=True)
class Maps:
    """Feature maps of a batch."""

    stages: tuple[Tensor, ...]  # (B, C, h, w) after each of the seven stages
    last: Tensor  # (B, 1280, h, w)


class Teacher(nn.Module):
    """The ImageNet MobileNetV2 with the maps of its stages. Pictures are RGB in [0, 1]."""

    def __init__(self, shared: Path) -> None:
        super().__init__()
        network = timm.create_model("mobilenetv2_100", num_classes=1001, pad_type="same")
        network.load_state_dict({key: value.float() for key, value in load_file(shared / WEIGHTS).items()})
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def maps(self, pictures: Tensor) -> Maps:
        """Maps of every stage, and the last map, computed in bfloat16 and returned in float32."""
        with torch.autocast("cpu", torch.bfloat16):
            x = self.network.bn1(self.network.conv_stem(self.normalized(pictures)))
            stages = []
            for block in self.network.blocks:
                x = block(x)
                stages.append(x.float())
            return Maps(tuple(stages), self.network.bn2(self.network.conv_head(x)).float())

    @torch.inference_mode()
    def pooled(self, pictures: Tensor) -> Tensor:
        """Embedding before L2 normalization, in float32: (B, 1280)."""
        features: Tensor = self.network.forward_features(self.normalized(pictures))
        return features.mean((2, 3))

    @staticmethod
    def normalized(pictures: Tensor) -> Tensor:
        """Pictures as the network takes them, channels last."""
        return (pictures * 2 - 1).contiguous(memory_format=torch.channels_last)


class Projection(nn.Module):
    """Principal components of the teacher's pooled features, partly whitened, as one affine layer.

    Components are divided by (standard deviation) ** whitening: 0 keeps the teacher's cosine of
    centered features, 1 gives all components the same variance. The mean square norm of a projected
    feature is 1.
    """

    weight: Tensor  # (D, C)
    bias: Tensor  # (D,)

    def __init__(self, pooled: Tensor, dims: int, whitening: float) -> None:
        super().__init__()
        mean = pooled.double().mean(0)
        _, singular, components = torch.linalg.svd(pooled.double() - mean, full_matrices=False)
        deviation = singular[:dims] / len(pooled) ** 0.5
        weight = components[:dims] / deviation[:, None] ** whitening
        weight = weight / (deviation ** (1 - whitening)).square().sum().sqrt()
        self.register_buffer("weight", weight.float())
        self.register_buffer("bias", -(weight @ mean).float())

    def forward(self, features: Tensor) -> Tensor:
        """Project (B, C) to (B, D), or (B, C, h, w) to (B, D, h, w)."""
        if features.ndim == 2:
            return nn.functional.linear(features, self.weight, self.bias)
        return nn.functional.conv2d(features, self.weight[:, :, None, None], self.bias)


class StageComponents(nn.Module):
    """Principal components of one of the teacher's stages, at similar scales."""

    weight: Tensor  # (width, C, 1, 1)
    bias: Tensor  # (width,)

    def __init__(self, teacher: Teacher, stage: int, width: int, batches: Iterable[Tensor]) -> None:
        """``batches`` are the pictures over which means and covariances are taken."""
        super().__init__()
        self.stage = stage
        moments = []
        for pictures in batches:
            cells = teacher.maps(pictures).stages[stage].double().movedim(1, -1).flatten(0, 2)
            moments.append((cells.mean(0), cells.T @ cells / len(cells)))
        mean, square = (torch.stack(each).mean(0) for each in zip(*moments, strict=True))
        values, vectors = torch.linalg.eigh(square - mean.outer(mean))  # rising
        values, vectors = values[-width:].clamp_min(1e-6), vectors[:, -width:]
        weight = vectors.T / values[:, None] ** 0.25
        weight = weight / (values**0.5).mean().sqrt()  # mean square 1 over all channels
        self.register_buffer("weight", weight.float()[:, :, None, None])
        self.register_buffer("bias", -(weight @ mean).float())

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """Components (B, width, h, w) of the stage, given the maps of all stages."""
        return nn.functional.conv2d(stages[self.stage], self.weight, self.bias)
