"""Local features of a picture: SIFT points with descriptors, in pixels of the original picture.

``opencv`` is how ``alignment``, ``region_proposals`` and ``transformations`` load OpenCV as well.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import LookalikeError
from lookalike.types import FloatArray, Picture

Frame = tuple[float, float, float, float]  # left, top, right, bottom in original pixels

QUERY_SIDE, MATCH_SIDE = 1600, 1024  # pixels of the longer side, at most, in which features are found
QUERY_FEATURES, MATCH_FEATURES = 3000, 800
_SMALL = 400  # pixels: smaller crops are enlarged to it
_CONTRAST = 0.02  # SIFT's threshold; .04 finds too few on paintings and packaging
_BINS, _ORIENTATIONS = 4, 8  # of a SIFT descriptor


@dataclass(frozen=True, eq=False)
class LocalFeatures:
    """Points of a picture with their descriptors (RootSIFT, unit length)."""

    points: FloatArray  # (n, 2): x, y in original pixels
    sizes: FloatArray  # (n,) diameters in original pixels
    angles: FloatArray  # (n,) radians, from the x axis toward the y axis
    descriptors: FloatArray  # (n, 128)
    frame: Frame  # the part of the picture that was looked at
    size: tuple[int, int]  # (H, W) of the original picture

    def __len__(self) -> int:
        return len(self.points)

    def inside(self, frame: Frame) -> LocalFeatures:
        """Return the features inside a part of the picture."""
        x, y = self.points.T
        kept = (x >= frame[0]) & (y >= frame[1]) & (x <= frame[2]) & (y <= frame[3])
        return LocalFeatures(
            self.points[kept],
            self.sizes[kept],
            self.angles[kept],
            self.descriptors[kept],
            frame,
            self.size,
        )


def opencv() -> Any:
    """Return OpenCV. Raises LookalikeError in one sentence if it is not installed."""
    try:
        return importlib.import_module("cv2")
    except ImportError as error:
        raise LookalikeError(
            "comparing pictures by local features needs OpenCV: pip install 'lookalike[geometry]'"
        ) from error


def has_opencv() -> bool:
    """Whether OpenCV is installed, without loading it."""
    return importlib.util.find_spec("cv2") is not None


def local_features(
    picture: Picture,
    *,
    frame: Frame | None = None,
    side: int = MATCH_SIDE,
    n: int = MATCH_FEATURES,
) -> LocalFeatures:
    """Return the n strongest SIFT features of a picture, or of a part of it.

    Lowe, *Distinctive image features from scale-invariant keypoints*, IJCV 2004; descriptors after
    Arandjelović and Zisserman, *Three things everyone should know to improve object retrieval*, CVPR 2012.
    Larger pictures are reduced to ``side`` pixels. Raises LookalikeError without OpenCV.
    """
    cv2 = opencv()
    height, width = picture.original_size
    frame = (0.0, 0.0, float(width), float(height)) if frame is None else frame
    gray, (left, top, scale_x, scale_y) = _gray(picture, frame, side)
    detector = cv2.SIFT_create(nfeatures=n, contrastThreshold=_CONTRAST, enable_precise_upscale=True)
    keypoints, descriptors = detector.detectAndCompute(gray, None)
    if descriptors is None or not len(keypoints):
        nothing = np.zeros(0, dtype=np.float32)
        empty = np.zeros((0, 2), dtype=np.float32), np.zeros((0, 128), dtype=np.float32)
        return LocalFeatures(empty[0], nothing, nothing, empty[1], frame, picture.original_size)
    found = np.array([(*k.pt, k.size, k.angle) for k in keypoints], dtype=np.float64)
    points = (found[:, :2] + 0.5) * (scale_x, scale_y) + (left, top)  # OpenCV counts from pixel centers
    return LocalFeatures(
        points.astype(np.float32),
        (found[:, 2] * np.sqrt(scale_x * scale_y)).astype(np.float32),
        np.deg2rad(found[:, 3]).astype(np.float32),
        root_sift(descriptors),
        frame,
        picture.original_size,
    )


def root_sift(descriptors: NDArray[Any]) -> FloatArray:
    """Return SIFT descriptors (n, 128) as RootSIFT: unit length (Arandjelović and Zisserman, CVPR 2012)."""
    values = descriptors.astype(np.float32)
    return np.asarray(np.sqrt(values / np.maximum(values.sum(1, keepdims=True), 1e-9)), dtype=np.float32)


def mirrored_descriptors(descriptors: NDArray[Any]) -> NDArray[Any]:
    """Return the descriptors (n, 128) that the same points have in the mirror image of the picture.

    A descriptor is a grid of 4 x 4 histograms of 8 orientations, turned by the point's angle: mirroring
    exchanges its rows and the sense of its orientations.
    """
    return descriptors[:, _MIRRORED]


def _mirrored_order() -> NDArray[np.intp]:
    grid = np.arange(_BINS * _BINS * _ORIENTATIONS).reshape(_BINS, _BINS, _ORIENTATIONS)
    return np.asarray(grid[::-1, :, -np.arange(_ORIENTATIONS) % _ORIENTATIONS].reshape(-1))


_MIRRORED = _mirrored_order()


def _gray(
    picture: Picture, frame: Frame, side: int
) -> tuple[NDArray[np.uint8], tuple[float, float, float, float]]:
    """The frame of a picture in gray, and left, top and original pixels per pixel (x, y) of it."""
    cv2 = opencv()
    height, width = picture.original_size
    x, y = picture.image.width / width, picture.image.height / height  # decoded at reduced scale
    left, top = max(0, int(frame[0] * x)), max(0, int(frame[1] * y))
    right = min(picture.image.width, max(left + 1, round(frame[2] * x)))
    bottom = min(picture.image.height, max(top + 1, round(frame[3] * y)))
    gray = np.asarray(picture.image.crop((left, top, right, bottom)).convert("L"))
    longer = max(gray.shape)
    wanted = min(side, max(longer, _SMALL))
    if wanted != longer:
        high, wide = (max(1, round(length * wanted / longer)) for length in gray.shape)
        method = cv2.INTER_AREA if wanted < longer else cv2.INTER_CUBIC
        gray = cv2.resize(gray, (wide, high), interpolation=method)
    scale_x, scale_y = (right - left) / gray.shape[1] / x, (bottom - top) / gray.shape[0] / y
    return np.ascontiguousarray(gray), (left / x, top / y, scale_x, scale_y)
