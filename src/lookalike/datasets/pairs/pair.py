"""Pairs of matching images, and what is known of each: the truth that explanations are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lookalike import images as image_files
from lookalike.datasets.jsons import finite_numbers, read_json
from lookalike.errors import DatasetError, UnreadableImageError
from lookalike.types import FloatArray


@dataclass(frozen=True, eq=False)
class KnownImage:
    """An image, and what is known of it; coordinates are original pixels with EXIF applied."""

    path: Path
    label: str = ""  # images of equal label match, also by way of others; empty if not known
    mask: Path | None = None  # an image file of the same size, bright where it is shared; see mask_of
    box: tuple[float, float, float, float] | None = None  # left, top, right, bottom, original pixels
    parts: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # visible ones: name -> (x, y)


@dataclass(frozen=True, eq=False)
class ImagePair:
    """Two images that match."""

    query: KnownImage
    match: KnownImage
    source: str  # name of the data set, for tables
    # (3, 3): pixels (x, y, 1) of the query to pixels of the match; (0, 0) is the center of the first pixel
    homography: FloatArray | None = None
    root: Path | None = None  # folder of the data set, left out of the key

    @property
    def key(self) -> str:
        """Name of the pair: its source, and the names of both images in it; the same wherever it lies."""
        return f"{self.source}: {self._name(self.query.path)} | {self._name(self.match.path)}"

    def _name(self, path: Path) -> str:
        inside = self.root is not None and path.is_relative_to(self.root)
        return (path.relative_to(self.root) if self.root is not None and inside else path).as_posix()


def mask_of(image: KnownImage, size: tuple[int, int]) -> NDArray[np.bool_] | None:
    """Pixels of an image that belong to what is shared, (H, W) bool; None if neither mask nor box is known.

    ``size`` (H, W) is the image's own. A pixel of the mask file belongs if it is at least half as bright
    as the brightest one, so that masks of 0 and 1 are read as those of 0 and 255. A mask that ends in
    ``.json`` holds outlines as labelme writes them: ``shapes``, each with ``points`` (x, y). Without a
    mask, the pixels whose centers lie in the box. Raises DatasetError for a mask that can't be read, has
    another size than the image or marks nothing.
    """
    if image.mask is not None:
        outlined = image.mask.suffix.lower() == ".json"
        mask = _inside_outlines(image.mask, size) if outlined else _bright(image, image.mask, size)
        if not mask.any():
            raise DatasetError(f"the mask {image.mask} marks nothing; bright pixels belong to what is shared")
        return mask
    if image.box is None:
        return None
    left, top, right, bottom = image.box
    y, x = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    inside: NDArray[np.bool_] = np.outer((top <= y) & (y <= bottom), (left <= x) & (x <= right))
    return inside


def _bright(image: KnownImage, file: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    try:
        pixels = np.asarray(image_files.load(file).image).max(axis=2)  # (H, W) uint8
    except UnreadableImageError as error:
        raise DatasetError(f"the mask of {image.path} can't be read: {error}; repair it") from error
    if pixels.shape != tuple(size):
        raise DatasetError(
            f"the mask {file} has {pixels.shape[0]} x {pixels.shape[1]} pixels, but its image {image.path} "
            f"{size[0]} x {size[1]}; a mask is as large as its image"
        )
    bright: NDArray[np.bool_] = (pixels > 0) & (pixels >= pixels.max() / 2)
    return bright


def _inside_outlines(file: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    content = read_json(file)
    shapes = content.get("shapes") if isinstance(content, Mapping) else None
    canvas = Image.new("1", (size[1], size[0]))
    for number, shape in enumerate(shapes if isinstance(shapes, list) else []):
        what = f"{file}: an outline's point in shape {number}"
        points = shape.get("points") if isinstance(shape, Mapping) else None
        corners = [finite_numbers(point, 2, what) for point in points or ()]
        if len(corners) < 3:
            raise DatasetError(f"{file}: shape {number} has {len(corners)} points; an outline has 3 or more")
        ImageDraw.Draw(canvas).polygon([(x, y) for x, y in corners], fill=1)
    return np.asarray(canvas, dtype=np.bool_)
