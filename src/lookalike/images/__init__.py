"""The only place that opens image files: decoding with limits, listing folders, preprocessing.

Numpy and Pillow only, no torch: decoding workers start fast.
"""

from lookalike.images.arrays import is_array, is_tensor
from lookalike.images.decoding import DecodedFile, Decoders, read_all
from lookalike.images.limits import Limits, set_limits
from lookalike.images.listing import IMAGE_SUFFIXES, is_left_out, iter_images, list_images
from lookalike.images.loading import ImageSource, file_bytes, is_one_image, load
from lookalike.images.object_store import FoundFile, is_remote, path_text, remote_uri
from lookalike.images.preparing import normalization_table, normalize, prepare, read
from lookalike.images.preprocessing import GrayLevels, Preprocessing
from lookalike.images.sources import is_there, status_of
from lookalike.images.writing import written

__all__ = [
    "IMAGE_SUFFIXES",
    "DecodedFile",
    "Decoders",
    "FoundFile",
    "GrayLevels",
    "ImageSource",
    "Limits",
    "Preprocessing",
    "file_bytes",
    "is_array",
    "is_left_out",
    "is_one_image",
    "is_remote",
    "is_tensor",
    "is_there",
    "iter_images",
    "list_images",
    "load",
    "normalization_table",
    "normalize",
    "path_text",
    "prepare",
    "read",
    "read_all",
    "remote_uri",
    "set_limits",
    "status_of",
    "written",
]
