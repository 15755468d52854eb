"""Labeled images, read from class folders, tables and published layouts."""

from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.reading import LAYOUTS, read_dataset, splits_of
from lookalike.datasets.rows import Rows

__all__ = ["LAYOUTS", "LabeledImages", "Rows", "read_dataset", "splits_of"]
