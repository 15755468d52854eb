"""CUB-200-2011 in its published layout: images.txt, image_class_labels.txt and a folder of images."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.listed import fields_of_lines, listed_images
from lookalike.datasets.splits import SplitReaders

IMAGES, LABELS, CLASSES = "images.txt", "image_class_labels.txt", "classes.txt"


def read_cub(source: Path) -> SplitReaders:
    """Read the split of metric learning: classes 1 to 100 train, 101 to 200 test.

    ``train_test_split.txt`` is not used, since it divides the images of every class. With another number
    of classes, the first half trains. Raises DatasetError.
    """
    classes = sorted({int(number) for _, number in fields_of_lines(source / LABELS, 2)})
    half = len(classes) // 2
    return {
        "train": partial(_read, source, frozenset(classes[:half])),
        "test": partial(_read, source, frozenset(classes[half:])),
    }


def _read(source: Path, classes: frozenset[int]) -> LabeledImages:
    class_of = {image: int(number) for image, number in fields_of_lines(source / LABELS, 2)}
    name_of = _names(source)
    return listed_images(
        (
            (source / "images" / path, name_of.get(class_of[image], str(class_of[image])))
            for image, path in fields_of_lines(source / IMAGES, 2)
            if class_of.get(image) in classes
        ),
        source / IMAGES,
    )


def _names(source: Path) -> dict[int, str]:
    if not (source / CLASSES).exists():
        return {}
    return {int(number): name for number, name in fields_of_lines(source / CLASSES, 2)}
