"""The only place that opens image files: decoding with limits, listing folders, preprocessing.

Numpy and Pillow only, no torch: decoding workers start fast.
"""

from lookalike.images.arrays import is_array, is_tensor
from lookalike.images.decoding import DecodedFile, Decoders, read_all
from lookalike.images.limits import Limits, set_limits
from lookalike.images.listing import IMAGE_SUFFIXES, iter_images, list_images
from lookalike.images.loading import ImageSource, file_bytes, is_one_image, load
from lookalike.images.preparing import normalization_table, normalize, prepare, read
from lookalike.images.preprocessing import GrayLevels, Preprocessing
from lookalike.images.writing import written

__all__ = [
    "IMAGE_SUFFIXES",
    "DecodedFile",
    "Decoders",
    "GrayLevels",
    "ImageSource",
    "Limits",
    "Preprocessing",
    "file_bytes",
    "is_array",
    "is_one_image",
    "is_tensor",
    "iter_images",
    "list_images",
    "load",
    "normalization_table",
    "normalize",
    "prepare",
    "read",
    "read_all",
    "set_limits",
    "written",
]
