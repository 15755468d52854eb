"""What the student learns to say: the teacher's maps, projected to the width of the embedding."""

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
    """The ImageNet MobileNetV2 with the maps of two middle stages; pictures are RGB in [0, 1]."""

    def __init__(self, shared: Path) -> None:
        super().__init__()
        network = timm.create_model("mobilenetv2_100", num_classes=1001, pad_type="same")
        network.load_state_dict({key: value.float() for key, value in load_file(shared / WEIGHTS).items()})
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def maps(self, pictures: Tensor) -> Maps:
        """What each stage says, and the last map."""
        with torch.autocast("cpu", torch.bfloat16):
            x = self.network.bn1(self.network.conv_stem(self.normalized(pictures)))
            stages = []
            for block in self.network.blocks:
                x = block(x)
                stages.append(x.float())
            return Maps(tuple(stages), self.network.bn2(self.network.conv_head(x)).float())

    @torch.inference_mode()
    def pooled(self, pictures: Tensor) -> Tensor:
        """The reference embedding before L2, in float32: (B, 1280)."""
        return self.network.forward_features(self.normalized(pictures)).mean((2, 3))

    @staticmethod
    def normalized(pictures: Tensor) -> Tensor:
        """RGB in [0, 1] as the network wants it."""
        return (pictures * 2 - 1).contiguous(memory_format=torch.channels_last)


class Projection(nn.Module):
    """Principal components of the teacher's pooled features, partly whitened, as one affine layer.

    Components are divided by (standard deviation) ** whitening: 0 keeps the teacher's cosine of
    centered features, 1 makes all components equally loud.
    """

    weight: Tensor  # (D, C)
    bias: Tensor  # (D,)

    def __init__(self, pooled: Tensor, dims: int, whitening: float) -> None:
        super().__init__()
        mean = pooled.double().mean(0)
        _, singular, components = torch.linalg.svd(pooled.double() - mean, full_matrices=False)
        deviation = singular[:dims] / len(pooled) ** 0.5
        weight = components[:dims] / deviation[:, None] ** whitening
        weight = (
            weight / (deviation ** (1 - whitening)).square().sum().sqrt()
        )  # pooled target: mean square norm 1
        self.register_buffer("weight", weight.float())
        self.register_buffer("bias", -(weight @ mean).float())

    def forward(self, features: Tensor) -> Tensor:
        """(B, C) to (B, D), or (B, C, h, w) to (B, D, h, w)."""
        if features.ndim == 2:
            return nn.functional.linear(features, self.weight, self.bias)
        return nn.functional.conv2d(features, self.weight[:, :, None, None], self.bias)


class Interfaces(nn.Module):
    """The teacher's stages in the student's widths: principal components, of similar loudness.

    They are what the student's stages learn to say, and, at first, what they are given to hear. The
    first stage is left out: the student may say there what it likes.
    """

    def __init__(self, teacher: Teacher, widths: Sequence[int], batches: Iterable[Tensor]) -> None:
        super().__init__()
        moments: list[tuple[Tensor, Tensor]] = []
        n = 0
        for pictures in batches:
            cells = [stage.double().movedim(1, -1).flatten(0, 2) for stage in teacher.maps(pictures).stages]
            new = [(p.mean(0), p.T @ p / len(p)) for p in cells]
            moments = [(a + c, b + d) for (a, b), (c, d) in zip(moments, new, strict=True)] if n else new
            n += 1
        self.first = 1
        for index, width in enumerate(widths):
            mean, square = moments[index][0] / n, moments[index][1] / n
            values, vectors = torch.linalg.eigh(square - mean.outer(mean))  # rising
            values, vectors = values[-width:].clamp_min(1e-6), vectors[:, -width:]
            weight = vectors.T / values[:, None] ** 0.25
            weight = weight / (values**0.5).mean().sqrt()  # mean square 1 over all channels
            self.register_buffer(f"weight_{index}", weight.float()[:, :, None, None])
            self.register_buffer(f"bias_{index}", -(weight @ mean).float())

    def forward(self, stages: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """(B, C, h, w) of each stage to (B, width, h, w)."""
        return tuple(
            nn.functional.conv2d(stage, getattr(self, f"weight_{i}"), getattr(self, f"bias_{i}"))
            for i, stage in enumerate(stages)
            if i >= self.first
        )
