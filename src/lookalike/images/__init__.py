"""The only place that opens image files: decoding with limits, listing folders, preprocessing.

Numpy and Pillow only, no torch: decoding workers start fast.
"""

from lookalike.images.decoding import DecodedFile, Decoders
from lookalike.images.listing import SUFFIXES, list_images
from lookalike.images.loading import Limits, file_bytes, load
from lookalike.images.preparing import normalize, prepare, read
from lookalike.images.preprocessing import Preprocessing

__all__ = [
    "SUFFIXES",
    "DecodedFile",
    "Decoders",
    "Limits",
    "Preprocessing",
    "file_bytes",
    "list_images",
    "load",
    "normalize",
    "prepare",
    "read",
]
