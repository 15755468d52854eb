"""Pairs of matching images with what is known of them: masks, boxes, parts, homographies."""

from lookalike.datasets.pairs.pair import ImagePair, KnownImage, mask_of
from lookalike.datasets.pairs.reading import PAIR_LAYOUTS, read_pairs
from lookalike.datasets.pairs.table import write_pairs

__all__ = ["PAIR_LAYOUTS", "ImagePair", "KnownImage", "mask_of", "read_pairs", "write_pairs"]
