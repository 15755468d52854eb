"""Embeddings of the training pictures in several models, as files for ``lookalike train-reranker``.

    uv run python recipes/csa-mini/features.py --shared ../shared --out runs/csa-mini/features

One decoding and three forward passes a picture give nine embeddings: MobileNetV2 at 192 pixels (mean,
GeM, maximum, the means of two middle stages) and at 128 (mean, GeM), and ``mini`` whole and by its
center. For each set one .safetensors: ``labels`` and one matrix an embedding.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.transforms.functional import to_tensor

from lookalike.models.embedder import Embedder
from lookalike.scenes.pairs import gallery_of_rooms

WEIGHTS = "weights/mobilenetv2_100_imagenet1001.safetensors"
SETS = ("grocery/train", "birds_cropped/train", "caltech101", "clothing")
LARGE, SMALL, BATCH = 192, 128, 32
ROOMS, ROOMS_OF_EACH, ROOM_SIZE = 60, 10, (180, 240)
ROOM_SEED = 7_000  # not used by any test
FEWEST = 4  # smaller classes are left out

Items = list[tuple[Image.Image, str]]


def class_folders(folder: Path) -> Iterator[tuple[Image.Image, str]]:
    """Every picture of every class, at reduced scale, with the class's name."""
    for group in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(path for path in group.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
        if len(files) < FEWEST:
            continue
        for file in files:
            with Image.open(file) as image:
                image.draft("RGB", (LARGE, LARGE))
                yield image.convert("RGB"), group.name


def rooms() -> Iterator[tuple[Image.Image, str]]:
    """Generated rooms; the class is the painting that hangs there."""
    gallery = gallery_of_rooms(ROOM_SEED, n_paintings=ROOMS, rooms_per_painting=ROOMS_OF_EACH, size=ROOM_SIZE)
    for room, label in zip(gallery.rooms, gallery.labels, strict=True):
        yield room.image, str(label)


class Views(nn.Module):
    """All embeddings of a batch of pictures."""

    def __init__(self, shared: Path) -> None:
        super().__init__()
        network = timm.create_model("mobilenetv2_100", num_classes=1001, pad_type="same")
        network.load_state_dict({key: value.float() for key, value in load_file(shared / WEIGHTS).items()})
        self.network = network.eval().to(memory_format=torch.channels_last)
        self.mini = Embedder.load("mini")

    @torch.inference_mode()
    def forward(self, images: list[Image.Image]) -> dict[str, Tensor]:
        """name -> (B, D)."""
        stages, large = self.maps(images, LARGE)
        small = self.maps(images, SMALL)[1]
        return {
            "large_mean": large.mean((2, 3)),
            "large_gem": gem(large),
            "large_max": large.amax((2, 3)),
            "stage_5": stages[4].mean((2, 3)),
            "stage_7": stages[6].mean((2, 3)),
            "small_mean": small.mean((2, 3)),
            "small_gem": gem(small),
            "mini": self.mini.embed(images),
            "mini_center": self.mini.embed([center(image) for image in images]),
        }

    def maps(self, images: list[Image.Image], side: int) -> tuple[list[Tensor], Tensor]:
        """Maps after each of the seven stages, and the last map, of pictures squashed to side x side."""
        squashed = [image.resize((side, side), Image.Resampling.BILINEAR) for image in images]
        x = torch.stack([to_tensor(image) for image in squashed]) * 2 - 1
        with torch.autocast("cpu", torch.bfloat16):
            x = self.network.bn1(self.network.conv_stem(x.contiguous(memory_format=torch.channels_last)))
            stages = []
            for block in self.network.blocks:
                x = block(x)
                stages.append(x.float())
            return stages, self.network.bn2(self.network.conv_head(x)).float()


def gem(maps: Tensor, power: float = 3.0) -> Tensor:
    """Generalized mean over cells of a non-negative map."""
    return maps.clamp(min=1e-6).pow(power).mean((2, 3)).pow(1 / power)


def center(image: Image.Image) -> Image.Image:
    """The middle three quarters of each side."""
    width, height = image.size
    return image.crop((width // 8, height // 8, width - width // 8, height - height // 8))


def extract(items: Iterator[tuple[Image.Image, str]], views: Views) -> dict[str, Tensor]:
    """Labels and every embedding of a set, in fp16."""
    labels: list[str] = []
    found: list[dict[str, Tensor]] = []
    batch: Items = []
    for item in items:
        batch.append(item)
        if len(batch) == BATCH:
            found.append(views([image for image, _ in batch]))
            labels += [label for _, label in batch]
            batch = []
    if batch:
        found.append(views([image for image, _ in batch]))
        labels += [label for _, label in batch]
    numbers = {label: i for i, label in enumerate(sorted(set(labels)))}
    tensors = {name: torch.cat([part[name] for part in found]).half() for name in found[0]}
    return {"labels": torch.tensor([numbers[label] for label in labels]), **tensors}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--out", type=Path, default=Path("runs/csa-mini/features"))
    arguments = parser.parse_args()
    os.nice(10)
    arguments.out.mkdir(parents=True, exist_ok=True)
    views = Views(arguments.shared)
    for name in (*SETS, "rooms"):
        file = arguments.out / f"{name.replace('/', '_')}.safetensors"
        if file.exists():
            continue
        start = time.perf_counter()
        items = rooms() if name == "rooms" else class_folders(arguments.shared / "data" / name)
        tensors = extract(items, views)
        part = file.with_suffix(".part")
        save_file(tensors, part)
        part.replace(file)
        print(f"{file}: {len(tensors['labels'])} pictures, {time.perf_counter() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
