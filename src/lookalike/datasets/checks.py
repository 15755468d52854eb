"""Checks of a dataset before a training starts."""

from __future__ import annotations

import logging

from lookalike import images as image_files
from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.leaks import copies_remark, leak_remark
from lookalike.errors import DatasetError, UnreadableImageError
from lookalike.images import GrayLevels
from lookalike.types import ProgressCallback, tracked

_logger = logging.getLogger(__name__)
_SMALL = (32, 32)  # pixels: JPEGs are decoded at the smallest scale, but completely


def check_training_data(train: LabeledImages, validation: LabeledImages | None = None) -> None:
    """Raise DatasetError for labels that no similarity can be learned from.

    There must be two classes or more, each with two images or more. Classes that training and validation
    share are logged as a warning, since metrics on them do not measure unseen classes, and so are exact
    copies within training and between the two.
    """
    if len(train.classes) < 2:
        raise DatasetError(
            f"training needs two classes or more, got {len(train.classes)} ({', '.join(train.classes)}); "
            "a similarity is learned from the differences of classes"
        )
    if single := sorted(name for name, n in train.counts.items() if n == 1):
        raise DatasetError(
            f"{len(single)} of {len(train.classes)} classes have only one image, e.g. {single[0]}; "
            "add images to them or leave them out"
        )
    if copies := copies_remark(train):
        _logger.warning("%s", copies)
    if validation is None:
        return
    if leak := leak_remark(train.paths, validation.paths, of_learned="training", of_measured="evaluation"):
        _logger.warning("%s", leak)
    if shared := sorted(set(train.classes) & set(validation.classes)):
        _logger.warning(
            "%d of %d classes are in training and in evaluation, e.g. %s: metrics on them do not "
            "measure unseen classes",
            len(shared),
            len(validation.classes),
            shared[0],
        )


def check_readable(
    data: LabeledImages, progress: ProgressCallback | None = None, *, levels: GrayLevels | None = None
) -> None:
    """Decode every image. Raises DatasetError with the number of unreadable ones and the first of them."""
    bad: list[UnreadableImageError] = []
    for path in tracked(data.paths, "reading images", len(data), progress):
        try:
            image_files.load(path, at_least=_SMALL, levels=levels)
        except UnreadableImageError as error:
            bad.append(error)
    refuse_unreadable(bad, len(data))


def refuse_unreadable(bad: list[UnreadableImageError], n: int) -> None:
    """Raise DatasetError if any of the n images is unreadable."""
    if bad:
        raise DatasetError(
            f"{len(bad)} of {n} images can't be read, the first is {bad[0]}; repair or remove them"
        )
