"""Training pictures in memory: photographs and generated scenes as uint8 tensors (3, H, W)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SUFFIXES = {".jpg", ".jpeg", ".png"}
TRAINING_FOLDERS = ("grocery/train", "grocery/val", "clothing", "caltech101")
HELD_OUT_EVERY = 10  # each tenth class of grocery and caltech101 is validation: never trained on
SHORT_SIDE = 224  # pixels; larger pictures are reduced once, smaller ones stay as they are


@dataclass(frozen=True)
class LabeledFiles:
    """Files and their classes, side by side."""

    paths: tuple[Path, ...]
    labels: tuple[str, ...]


def shared_default() -> Path:
    """Default folder of data and teacher weights."""
    return Path(os.environ.get("LOOKALIKE_SHARED", "../shared"))


def class_folder(root: Path) -> LabeledFiles:
    """All pictures of ROOT/CLASS/, in sorted order. Raises FileNotFoundError if there is no ROOT."""
    if not root.is_dir():
        raise FileNotFoundError(f"expected class folders in {root}; pass --shared or set LOOKALIKE_SHARED")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES)
    return LabeledFiles(tuple(paths), tuple(path.parent.name for path in paths))


def split_training(shared: Path) -> tuple[LabeledFiles, LabeledFiles]:
    """The pictures to train on, and those of the held-out classes for validation."""
    train: list[tuple[Path, str]] = []
    held_out: list[tuple[Path, str]] = []
    for folder in TRAINING_FOLDERS:
        files = class_folder(shared / "data" / folder)
        source = folder.split("/")[0]
        classes = sorted(set(files.labels))
        if source == "grocery":  # the same classes for train and val
            classes = sorted({*classes, *class_folder(shared / "data/grocery/train").labels})
        hidden = set(classes[HELD_OUT_EVERY // 2 :: HELD_OUT_EVERY]) if source != "clothing" else set()
        for path, label in zip(files.paths, files.labels, strict=True):
            (held_out if label in hidden else train).append((path, f"{source}/{label}"))
    return _labeled(train), _labeled(held_out)


def _labeled(rows: Sequence[tuple[Path, str]]) -> LabeledFiles:
    return LabeledFiles(tuple(path for path, _ in rows), tuple(label for _, label in rows))


def read_reduced(path: Path, short_side: int = SHORT_SIDE) -> Tensor:
    """A picture as uint8 RGB (3, H, W), its shorter side at most SHORT_SIDE pixels."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    factor = short_side / min(image.size)
    if factor < 1:
        width, height = image.size
        image = image.resize((round(width * factor), round(height * factor)), Image.Resampling.BICUBIC)
    return _as_tensor(image)


def read_squashed(path: Path, size: tuple[int, int]) -> Tensor:
    """A picture squashed to (h, w) with Pillow's bilinear filter, uint8 RGB (3, h, w)."""
    with Image.open(path) as file:
        image = file.convert("RGB").resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return _as_tensor(image)


def _as_tensor(image: Image.Image) -> Tensor:
    # the bytes stay (H, W, 3): resizing uint8 is much faster in this memory order
    return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1)


def read_all(paths: Sequence[Path]) -> list[Tensor]:
    """Every picture, reduced; about 0.9 GB for the photographs of the recipe."""
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(read_reduced, paths))


def read_all_squashed(paths: Sequence[Path], size: tuple[int, int]) -> Tensor:
    """Every picture squashed: uint8 (B, 3, h, w)."""
    with ThreadPoolExecutor(2) as pool:
        return torch.stack(list(pool.map(lambda path: read_squashed(path, size), paths)))
