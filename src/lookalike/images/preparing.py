"""Preparation of pictures for a network: resize, crop the center, normalize; with their geometry."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.images.limits import Limits
from lookalike.images.loading import ImageSource, load
from lookalike.images.opencv_resize import opencv_resize
from lookalike.images.preprocessing import Preprocessing
from lookalike.types import Geometry, Picture, Reading

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
_FILTER_REACH = 3  # pixels of the coarser side; Lanczos has the widest filter
_DRAFT_MARGIN = 2  # decode JPEGs at twice the resized size or more: the filter still has pixels to average
_MAX_RESIZED = 2**24  # pixels; beyond it only the strip that is kept is resized
_MAX_BETWEEN = 2**26  # pixels between the two passes of a resize; beyond it columns go first


def read(
    source: ImageSource,
    preprocessing: Preprocessing,
    *,
    limits: Limits | None = None,
    name: str | None = None,
) -> Reading:
    """Load a picture at the smallest sufficient scale and `prepare` it.

    A `Picture` that was loaded at a finer scale, to be drawn on, gives the same pixels but for the
    rounding of the decoder. Raises `UnreadableImageError` as `load` does.
    """
    height, width = preprocessing.resize_target
    # For crop, a picture that covers the doubled target in both directions has its short side twice
    # as long as the resized one. Letterbox asks for more than it needs across, never for less.
    at_least = (height * _DRAFT_MARGIN, width * _DRAFT_MARGIN)
    if preprocessing.interpolation == "opencv":  # it has no low-pass filter, so every pixel counts
        picture = load(source, limits=limits, levels=preprocessing.levels, name=name)
        return Reading(picture, *prepare(picture, preprocessing))
    picture = load(source, at_least=at_least, limits=limits, levels=preprocessing.levels, name=name)
    pixels, geometry = prepare(_drafted(picture, at_least), preprocessing)
    return Reading(picture, pixels, geometry)


def _drafted(picture: Picture, at_least: tuple[int, int]) -> Picture:
    """A JPEG at the scale that a decoder asked for ``at_least`` (H, W) would have chosen.

    Cosines of one file then agree to about 1e-4, whether it was decoded to be indexed or to be drawn.
    """
    if picture.format not in ("JPEG", "MPO"):
        return picture
    full, here = picture.original_size, picture.image
    scales = [s for s in (8, 4, 2) if full[0] // s >= at_least[0] and full[1] // s >= at_least[1]]
    decoded = round(max(full) / max(here.size))
    factor = scales[0] // decoded if scales else 1
    return picture if factor < 2 else replace(picture, image=here.reduce(factor))


def prepare(picture: Picture, preprocessing: Preprocessing) -> tuple[NDArray[np.uint8], Geometry]:
    """The network's input before normalization, uint8 RGB (H, W, 3), and its geometry.

    Equals timm's evaluation transform pixel for pixel, also for input sizes that are not square;
    mode ``fit`` equals Pillow's ``thumbnail``.
    ``Geometry.crop`` follows the rounding that happened, in pixels of the original; where the
    picture does not fill the input (letterbox) it reaches beyond the image.
    """
    height, width = picture.original_size
    if preprocessing.interpolation == "opencv":
        size = preprocessing.input_size
        pixels = opencv_resize(np.asarray(picture.image), size)
        return pixels, Geometry(picture.original_size, size, (0.0, 0.0, float(height), float(width)))
    placement = _placement(picture.original_size, preprocessing)
    canvas = _cut(picture, placement, preprocessing)
    rows, columns = placement.resized
    crop = (
        placement.top * height / rows,
        placement.left * width / columns,
        placement.height * height / rows,
        placement.width * width / columns,
    )
    return np.array(canvas), Geometry(picture.original_size, (placement.height, placement.width), crop)


def normalize(batch: NDArray[np.uint8], preprocessing: Preprocessing) -> NDArray[np.float32]:
    """(B, H, W, 3) uint8 RGB as contiguous (B, 3, H, W) float32: (x / 255 - mean) / std."""
    if batch.ndim != 4 or batch.shape[3] != 3 or batch.dtype != np.uint8:
        raise ValueError(f"expected uint8 pictures (B, H, W, 3); got {batch.dtype} {batch.shape}")
    table = normalization_table(preprocessing)
    out = np.empty((batch.shape[0], 3, *batch.shape[1:3]), dtype=np.float32)
    for channel in range(3):
        out[:, channel] = table[:, channel][batch[..., channel]]
    return out


def normalization_table(preprocessing: Preprocessing) -> NDArray[np.float32]:
    """The normalized value of each of 256 levels in each channel: (256, 3)."""
    levels = np.arange(256, dtype=np.float32)[:, None] / np.float32(255)
    mean, std = np.array([preprocessing.mean, preprocessing.std], dtype=np.float32)
    table: NDArray[np.float32] = (levels - mean) / std
    return table


# --- where the input lies on the resized picture ----------------------------------------------


@dataclass(frozen=True)
class _Placement:
    """The input as a window on the resized picture; it may reach beyond it."""

    resized: tuple[int, int]  # (H, W) pixels of the whole picture after resizing
    top: int  # of the window, in pixels of the resized picture; negative: padding
    left: int
    height: int
    width: int


def _placement(original_size: tuple[int, int], preprocessing: Preprocessing) -> _Placement:
    resized = _resized_size(original_size, preprocessing)
    height, width = resized if preprocessing.mode == "fit" else preprocessing.input_size
    return _Placement(resized, _offset(resized[0], height), _offset(resized[1], width), height, width)


def _offset(resized: int, window: int) -> int:
    """Start of a centered window; torchvision rounds crops half to even and padding down."""
    return round((resized - window) / 2) if resized >= window else -((window - resized) // 2)


def _resized_size(original_size: tuple[int, int], preprocessing: Preprocessing) -> tuple[int, int]:
    """(H, W) of the whole picture after resizing, rounded as timm and torchvision round it."""
    target = preprocessing.resize_target
    if preprocessing.mode == "squash":
        return target
    if preprocessing.mode == "fit":
        return _fitted_size(original_size, target)
    (height, width), (target_height, target_width) = original_size, target
    if preprocessing.mode == "crop" and target_height == target_width:  # torchvision's Resize(int)
        longer = int(target_height * max(height, width) / min(height, width))
        return (longer, target_width) if height > width else (target_height, longer)
    ratios = height / target_height, width / target_width
    ratio = min(ratios) if preprocessing.mode == "crop" else max(ratios)
    return max(1, round(height / ratio)), max(1, round(width / ratio))


def _fitted_size(original_size: tuple[int, int], largest: tuple[int, int]) -> tuple[int, int]:
    """The largest (H, W) inside another that keeps the proportions; never larger than the original.

    Of the two roundings the one that changes the proportions least, as Pillow's thumbnails.
    """
    (height, width), (max_height, max_width) = original_size, largest
    if height <= max_height and width <= max_width:
        return original_size
    aspect = width / height
    if max_width / max_height >= aspect:
        exact = max_height * aspect
        candidates = math.floor(exact), math.ceil(exact)
        return max_height, max(1, min(candidates, key=lambda n: abs(aspect - n / max_height)))
    exact = max_width / aspect
    candidates = math.floor(exact), math.ceil(exact)
    return max(1, min(candidates, key=lambda n: abs(aspect - max_width / n) if n else 0.0)), max_width


# --- pixels -----------------------------------------------------------------------------------


def _cut(picture: Picture, placement: _Placement, preprocessing: Preprocessing) -> Image.Image:
    """The window of the resized picture, filled with the mean color where it reaches beyond."""
    resample = _FILTERS[preprocessing.interpolation]
    height, width = placement.resized
    # The part of the resized picture that the window shows: left, top, right, bottom.
    shown = (
        max(placement.left, 0),
        max(placement.top, 0),
        min(placement.left + placement.width, width),
        min(placement.top + placement.height, height),
    )
    if height * width <= _MAX_RESIZED:
        whole = _resize(picture.image, (height, width), _extent(picture), resample)
        part = whole.crop(shown)
    else:
        part = _resize_strip(picture, placement.resized, shown, resample)
    if part.size == (placement.width, placement.height):
        return part
    mean = tuple(round(255 * value) for value in preprocessing.mean)
    canvas = Image.new("RGB", (placement.width, placement.height), mean)
    canvas.paste(part, (shown[0] - placement.left, shown[1] - placement.top))
    return canvas


def _extent(picture: Picture) -> tuple[float, float, float, float]:
    """The box of the decoded pixels that the original covers.

    A JPEG decoded at 1/s has ceil(side / s) pixels: its last row and column may lie partly outside.
    """
    (height, width), image = picture.original_size, picture.image
    for scale in (1, 2, 4, 8):
        if (math.ceil(height / scale), math.ceil(width / scale)) == (image.height, image.width):
            return (0, 0, width / scale, height / scale)
    return (0, 0, image.width, image.height)


def _resize(
    image: Image.Image,
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    resample: Image.Resampling,
) -> Image.Image:
    height, width = size
    if width * image.height > _MAX_BETWEEN:
        # Older Pillows always fit the width first: gigabytes for a picture of millions of rows.
        image = image.resize((image.width, height), resample, (0, box[1], image.width, box[3]))
        box = (box[0], 0, box[2], height)
    return image.resize((width, height), resample, box)


def _resize_strip(
    picture: Picture,
    resized: tuple[int, int],
    shown: tuple[int, int, int, int],
    resample: Image.Resampling,
) -> Image.Image:
    """The shown part of a very elongated picture, without resizing the rest of it."""
    image, (_, _, right, bottom) = picture.image, _extent(picture)
    per_column, per_row = right / resized[1], bottom / resized[0]
    box = (shown[0] * per_column, shown[1] * per_row, shown[2] * per_column, shown[3] * per_row)
    reach_x = math.ceil(_FILTER_REACH * max(per_column, 1)) + 1
    reach_y = math.ceil(_FILTER_REACH * max(per_row, 1)) + 1
    outer = (
        max(math.floor(box[0]) - reach_x, 0),
        max(math.floor(box[1]) - reach_y, 0),
        min(math.ceil(box[2]) + reach_x, image.width),
        min(math.ceil(box[3]) + reach_y, image.height),
    )
    inner = (box[0] - outer[0], box[1] - outer[1], box[2] - outer[0], box[3] - outer[1])
    return _resize(image.crop(outer), (shown[3] - shown[1], shown[2] - shown[0]), inner, resample)
