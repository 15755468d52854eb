"""Labeled images, read from class folders, tables and published layouts."""

from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.reading import LAYOUTS, read_dataset, splits_of
from lookalike.datasets.rows import PictureRows

__all__ = ["LAYOUTS", "LabeledImages", "PictureRows", "read_dataset", "splits_of"]
