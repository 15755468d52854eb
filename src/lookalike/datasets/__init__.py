"""Images with labels, read from the layouts that people and papers have."""

from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.reading import LAYOUTS, read_dataset, splits_of

__all__ = ["LAYOUTS", "LabeledImages", "read_dataset", "splits_of"]
