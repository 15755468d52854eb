"""Labeled images as tensors: augmented for training, center-cropped for evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from lookalike import images as image_files
from lookalike.datasets import LabeledImages
from lookalike.datasets.checks import check_readable, refuse_unreadable
from lookalike.errors import UnreadableImageError
from lookalike.images import Preprocessing
from lookalike.training.augmentation import augmented
from lookalike.training.batches import Draw
from lookalike.training.settings import TrainSettings
from lookalike.types import ProgressCallback, tracked


class TrainingPictures(Dataset[tuple[Tensor, int]]):
    """Dataset indexed by ``Draw``: images, augmented and normalized, with the number of their class.

    With ``keep`` every image is decoded once and kept in memory, resized as for evaluation.
    """

    def __init__(
        self, data: LabeledImages, preprocessing: Preprocessing, settings: TrainSettings, *, keep: bool
    ) -> None:
        self._data, self.codes = data, data.codes
        self._preprocessing, self._settings = preprocessing, settings
        self._kept: dict[int, NDArray[np.uint8]] | None = {} if keep else None

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, int]:
        settings = self._settings
        picture = augmented(
            self._decoded(draw.index),
            settings.input_size,
            area=settings.crop_area,
            flip=settings.flip,
            random=np.random.default_rng(draw.seed),
        )
        pixels = image_files.normalize(picture[None], self._preprocessing)[0]
        return torch.from_numpy(pixels), self.codes[draw.index]

    def read_all(self, progress: ProgressCallback | None = None) -> None:
        """Decode every image before the start, and keep it if images are kept.

        Raises DatasetError if some can't be read.
        """
        if self._kept is None:
            check_readable(self._data, progress, levels=self._preprocessing.levels)
            return
        bad: list[UnreadableImageError] = []
        for index in tracked(range(len(self)), "reading images", len(self), progress):
            try:
                self._decoded(index)
            except UnreadableImageError as error:
                bad.append(error)
        refuse_unreadable(bad, len(self))

    def _decoded(self, index: int) -> NDArray[np.uint8]:
        """The whole image at the size that crops are taken from, (H, W, 3) uint8."""
        if self._kept is not None and index in self._kept:
            return self._kept[index]
        picture = resized(self._data.paths[index], self._preprocessing)
        if self._kept is not None:
            self._kept[index] = picture
        return picture


def resized(path: Path, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """Read an image, resized as for evaluation but not cropped: (H, W, 3) uint8.

    Raises UnreadableImageError, naming the file.
    """
    target = preprocessing.resize_target
    image = image_files.load(path, at_least=target, levels=preprocessing.levels).image
    height, width = target
    if preprocessing.mode != "squash":  # cover the target, keep the proportions
        scale = max(target[0] / image.height, target[1] / image.width)
        height, width = (
            max(side, round(scale * n)) for side, n in zip(target, (image.height, image.width), strict=True)
        )
    return np.array(image.resize((width, height), Image.Resampling.BILINEAR))


def evaluation_batches(
    data: LabeledImages, preprocessing: Preprocessing, *, batch_size: int
) -> Iterator[Tensor]:
    """Yield all images in order, preprocessed as for the saved model: (B, 3, H, W) float32, normalized."""
    for start in range(0, len(data), batch_size):
        pixels = [
            image_files.read(path, preprocessing).pixels for path in data.paths[start : start + batch_size]
        ]
        yield torch.from_numpy(image_files.normalize(np.stack(pixels), preprocessing))


def preprocessing_for(start: Preprocessing, settings: TrainSettings) -> Preprocessing:
    """Combine the sizes of the settings with the normalization and mode of the start model."""
    return replace(start, input_size=settings.input_size, crop_pct=settings.crop_pct)
