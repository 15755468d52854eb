"""Pairs of matching images with what is known of them: masks, boxes, parts, homographies."""

from lookalike.datasets.pairs.pair import ImagePair, KnownImage, mask_of

__all__ = ["ImagePair", "KnownImage", "mask_of"]
