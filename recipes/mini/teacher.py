"""What the student learns to say: the teacher's maps, projected to the width of the embedding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = "weights/mobilenetv2_100_imagenet1001.safetensors"
INPUT_SIZE = (224, 224)
STAGES = {8: 2, 16: 4}  # stride -> index of the last block with that stride


@dataclass(frozen=True)
class Maps:
    """Feature maps of a batch."""

    stages: dict[int, Tensor]  # stride -> (B, C, h, w), standardised for each channel
    local: Tensor  # (B, D, h, w) the last map, or its projection


class Teacher(nn.Module):
    """The ImageNet MobileNetV2 with the maps of two middle stages; pictures are RGB in [0, 1]."""

    def __init__(self, shared: Path) -> None:
        super().__init__()
        network = timm.create_model("mobilenetv2_100", num_classes=1001, pad_type="same")
        network.load_state_dict({key: value.float() for key, value in load_file(shared / WEIGHTS).items()})
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def maps(self, pictures: Tensor) -> Maps:
        """Middle stages and the last map (B, 1280, h, w)."""
        with torch.autocast("cpu", torch.bfloat16):
            x = self.network.bn1(self.network.conv_stem(self._normalised(pictures)))
            stages = {}
            for index, block in enumerate(self.network.blocks):
                x = block(x)
                stages.update({stride: x.float() for stride, last in STAGES.items() if last == index})
            return Maps(stages, self.network.bn2(self.network.conv_head(x)).float())

    @torch.inference_mode()
    def pooled(self, pictures: Tensor) -> Tensor:
        """The reference embedding before L2, in float32: (B, 1280)."""
        return self.network.forward_features(self._normalised(pictures)).mean((2, 3))

    @staticmethod
    def _normalised(pictures: Tensor) -> Tensor:
        return (pictures * 2 - 1).contiguous(memory_format=torch.channels_last)


class Projection(nn.Module):
    """Principal components of the teacher's pooled features, partly whitened, as one affine layer.

    Components are divided by (standard deviation) ** whitening: 0 keeps the teacher's cosine of
    centred features, 1 makes all components equally loud.
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


class Standardisation(nn.Module):
    """Each channel of the middle stages to mean 0 and deviation 1 over the training pictures."""

    def __init__(self, teacher: Teacher, batches: Iterator[Tensor]) -> None:
        super().__init__()
        sums: dict[int, Tensor] = {}
        n = 0
        for pictures in batches:
            for stride, stage in teacher.maps(pictures).stages.items():
                moments = torch.stack((stage.mean((0, 2, 3)), stage.square().mean((0, 2, 3))))
                sums[stride] = sums.get(stride, 0) + moments
            n += 1
        for stride, moments in sums.items():
            mean, square = moments / n
            self.register_buffer(f"mean_{stride}", mean[:, None, None])
            self.register_buffer(f"scale_{stride}", (square - mean**2).rsqrt()[:, None, None])

    def forward(self, stages: dict[int, Tensor]) -> dict[int, Tensor]:
        return {
            stride: (stage - getattr(self, f"mean_{stride}")) * getattr(self, f"scale_{stride}")
            for stride, stage in stages.items()
        }
