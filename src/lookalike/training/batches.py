"""Batches of images, determined by seed and step, so that a resumed run draws the same."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from pytorch_metric_learning.samplers import MPerClassSampler
from pytorch_metric_learning.utils import common_functions

from lookalike.errors import DatasetError


@dataclass(frozen=True)
class Draw:
    """One image of a batch, and the seed of its augmentation."""

    index: int  # of the image in the dataset
    seed: tuple[int, ...]  # entropy of a SeedSequence: seed of the training, step, position in the batch


class Batches:
    """Batches of images from ``first_step`` to the end of the training, for one of several processes.

    With ``images_per_class`` a batch holds that many images of each class that was drawn, otherwise
    images are drawn one by one; an epoch is as many whole batches as the images fill. There is no
    ``__len__`` on purpose: Lightning would take the rest after a resume for the whole epoch.
    Raises DatasetError if the images don't fill a batch.
    """

    def __init__(
        self,
        codes: Sequence[int],
        *,
        batch_size: int,
        images_per_class: int,
        epochs: int,
        seed: int,
        first_step: int = 0,
        process: int = 0,
        n_processes: int = 1,
    ) -> None:
        _check(codes, batch_size, images_per_class, n_processes)
        self._codes, self._seed = np.asarray(codes), seed
        self._batch_size, self._images_per_class = batch_size, images_per_class
        self.steps_per_epoch = len(codes) // batch_size
        self._steps, self._first_step = epochs * self.steps_per_epoch, first_step
        self._process, self._n_processes = process, n_processes

    def __iter__(self) -> Iterator[list[Draw]]:
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for step in range(self._first_step, self._steps):
            if step // self.steps_per_epoch != epoch:
                epoch = step // self.steps_per_epoch
                order = self._order(epoch)
            start = (step % self.steps_per_epoch) * self._batch_size
            batch = order[start : start + self._batch_size]
            draws = [Draw(int(index), (self._seed, step, position)) for position, index in enumerate(batch)]
            share = self._batch_size // self._n_processes
            yield draws[self._process * share : (self._process + 1) * share]

    def _order(self, epoch: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Indices of an epoch's images, batch after batch."""
        random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence((self._seed, epoch))))
        n = self.steps_per_epoch * self._batch_size
        if not self._images_per_class:
            return random.permutation(len(self._codes))[:n]
        with _drawing_from(random):
            sampler = MPerClassSampler(self._codes, self._images_per_class, self._batch_size, n)
            return np.fromiter(sampler, dtype=np.int64)


@contextmanager
def _drawing_from(random: np.random.RandomState) -> Iterator[None]:
    """Let pytorch-metric-learning draw from ``random`` instead of numpy's global state."""
    before = common_functions.NUMPY_RANDOM
    common_functions.NUMPY_RANDOM = random
    try:
        yield
    finally:
        common_functions.NUMPY_RANDOM = before


def _check(codes: Sequence[int], batch_size: int, images_per_class: int, n_processes: int) -> None:
    n_classes = len(set(codes))
    if batch_size > len(codes):
        raise DatasetError(
            f"a batch of {batch_size} images can't be drawn from {len(codes)}; lower the batch size"
        )
    if images_per_class and images_per_class * n_classes < batch_size:
        needed = math.ceil(batch_size / images_per_class)
        raise DatasetError(
            f"a batch of {batch_size} with {images_per_class} images of each class needs {needed} classes, "
            f"the data has {n_classes}; lower the batch size or raise the images of each class"
        )
    if batch_size % n_processes:
        raise ValueError(f"a batch of {batch_size} can't be shared by {n_processes} processes evenly")
