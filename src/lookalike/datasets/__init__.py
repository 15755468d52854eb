"""Images with labels, read from the layouts that people and papers have."""

from lookalike.datasets.labelled import LabelledImages
from lookalike.datasets.reading import LAYOUTS, read_dataset, splits_of

__all__ = ["LAYOUTS", "LabelledImages", "read_dataset", "splits_of"]
