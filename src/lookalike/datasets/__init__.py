"""Labeled images, read from class folders, tables and published layouts."""

from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.reading import LAYOUTS, read_dataset, splits_of

__all__ = ["LAYOUTS", "LabeledImages", "read_dataset", "splits_of"]
