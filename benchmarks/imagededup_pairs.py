"""Pairs that imagededup calls duplicates, as JSON lines, for benchmarks/duplicates.py in another interpreter.

    python benchmarks/imagededup_pairs.py FOLDER WEIGHTS

The classes, the preprocessing and the search are imagededup's own: ``PHash``, ``DHash`` and ``CNN``. The
weights of its CNN (torchvision's MobileNetV3-small) are downloaded at run time. Where they can't be, WEIGHTS
are those of an ImageNet MobileNetV2, given to ``CNN`` as its documented custom model: features of the last
layer, averaged. One line for each method: ``method``, ``default`` (its threshold as a score) and ``pairs``,
each of two names and a score, higher is closer (a cosine, or minus the Hamming distance), down to a loose
threshold. Needs imagededup, timm and safetensors; nothing of it is part of the package.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import timm
import torch
from imagededup.methods import CNN, DHash, PHash
from imagededup.utils import CustomModel
from imagededup.utils.models import MobilenetV3
from safetensors.torch import load_file
from torchvision.transforms import transforms

LOOSE_COSINE, LOOSE_DISTANCE = 0.8, 20  # defaults are 0.9 and 10


class MobileNetV2(torch.nn.Module):
    """Features of the last layer, averaged over the image, as imagededup cuts its own network."""

    # imagededup's own steps; these weights take values in [-1, 1]
    transform = transforms.Compose(
        [*MobilenetV3.transform.transforms[:3], transforms.Normalize(mean=[0.5] * 3, std=[0.5] * 3)]
    )
    name = "mobilenet_v2"

    def __init__(self, weights: Path) -> None:
        super().__init__()
        self.network = timm.create_model("mobilenetv2_100", num_classes=1001, pad_type="same").eval()
        self.network.load_state_dict({key: value.float() for key, value in load_file(weights).items()})

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network.forward_features(images).mean((2, 3))


def main(folder: str, weights: str) -> None:
    """Print the pairs of each method."""
    for hasher in (PHash(verbose=False), DHash(verbose=False)):
        codes = hasher.encode_images(image_dir=folder, num_enc_workers=0)
        found = hasher.find_duplicates(
            encoding_map=codes, max_distance_threshold=LOOSE_DISTANCE, scores=True, num_dist_workers=0
        )
        show(type(hasher).__name__, -10, {name: [(n, -d) for n, d in near] for name, near in found.items()})
    cnn = CNN(
        verbose=False,
        model_config=CustomModel(
            name=MobileNetV2.name, model=MobileNetV2(Path(weights)), transform=MobileNetV2.transform
        ),
    )
    codes = cnn.encode_images(image_dir=folder)
    show("CNN", 0.9, cnn.find_duplicates(
        encoding_map=codes, min_similarity_threshold=LOOSE_COSINE, scores=True, num_sim_workers=0
    ))  # fmt: skip


def show(method: str, default: float, found: dict[str, list[tuple[str, float]]]) -> None:
    """Print one method's pairs, each once."""
    pairs = {(min(name, n), max(name, n)): float(s) for name, near in found.items() for n, s in near}
    lines = [(*pair, score) for pair, score in pairs.items()]
    print(json.dumps({"method": method, "default": default, "pairs": lines}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
