"""Alignment of two pictures: the affine transformation between them, and how far their contents agree.

It tells an altered copy of a photograph from another photograph of the same thing: a copy agrees wherever
both show something, another photograph only where the thing is. Needs OpenCV (the extra ``geometry``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookalike.rerankers.local_features import mirrored_descriptors, opencv, root_sift
from lookalike.rerankers.transformations import affine_between, feature_pairs
from lookalike.types import FloatArray, Picture

_SIDE = 320  # pixels of the longer side, at most, in which pictures are compared
_N_POINTS = 400
_CONTRAST = 0.015  # of SIFT; its default of .04 finds too few points on plain photographs
_MIN_INLIERS = 6
_FEW_POINTS = 40  # with fewer, pixels are aligned as well
_AGREED, _SURE = 0.5, 0.8  # of an alignment that needs no refinement, and no other to be tried
_TOLERANCE = 3.0  # pixels of the reduced picture
_MOST_SCALE, _MOST_STRETCH = 6.0, 2.0
_WINDOW = 25  # pixels of the windows in which contents are correlated
_BLUR = 2.0  # pixels; takes away what compression, resizing and blur change
_TEXTURE = 4.0  # gray levels, standard deviation in a window: less shows nothing to compare
_AGREES, _EQUAL = 0.7, 0.95  # correlation in a window
_LEAST_TEXTURE = 0.04  # of the overlap, below which nothing can be said
_SMALL, _STEPS = 96, 40  # pixels and steps of the alignment by pixels
_TINY = 12  # pixels of each side
_PLAIN_EDGE = 6.0  # gray levels, standard deviation in a row or column that belongs to a plain border

_Matrix = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReducedPicture:
    """A picture made small for alignment: gray values, SIFT points, and what its edits may have changed."""

    gray: NDArray[np.uint8]  # (h, w)
    points: FloatArray  # (n, 2): x, y in pixels of gray
    descriptors: NDArray[np.uint8]  # (n, 128)
    inner: tuple[int, int, int, int]  # left, top, right, bottom of gray without a plain border
    tiny: FloatArray  # (144,) gray at 12 x 12 pixels less its mean, unit length; row by row
    saturation: float  # mean of the largest less the smallest channel, 0 to 255
    size: tuple[int, int]  # (H, W) of the original picture


@dataclass(frozen=True, eq=False)
class Alignment:
    """An affine transformation between two pictures, and the evidence that both are one photograph."""

    matrix: NDArray[np.float64]  # (3, 3), from original pixels (x, y, 1) of the first to those of the second
    n_inliers: int  # pairs of SIFT points that agree with it; 0 for an alignment by pixels
    agreement: float  # share of what both show in the overlap that correlates, [0, 1]
    equality: float  # share that correlates as only an altered copy does, [0, 1]
    overlap: tuple[float, float]  # shares of the first and of the second picture that lie in the overlap
    contrast: float  # contrast of the second over that of the first, in the overlap
    brightness: float  # mean gray of the second less that of the first, in the overlap, -255 to 255
    sharpness: float  # fine detail of the second over that of the first, in the overlap
    saturation: tuple[float, float]  # of both pictures, 0 to 255
    plain_outside: tuple[bool, bool]  # whether what each picture has beyond the overlap is a plain border

    @property
    def is_mirrored(self) -> bool:
        """Whether the second is a mirror image."""
        return bool(np.linalg.det(self.matrix[:2, :2]) < 0)

    @property
    def scale(self) -> float:
        """Pixels of the second for one of the first, as a geometric mean of both axes."""
        return float(abs(np.linalg.det(self.matrix[:2, :2])) ** 0.5)

    @property
    def rotation(self) -> float:
        """Degrees by which the second is turned clockwise, -180 to 180; after mirroring left and right."""
        x, y = self.matrix[0, 0], self.matrix[1, 0]
        return float(
            np.rad2deg(np.arctan2(y, -x if self.is_mirrored else x)) * (-1 if self.is_mirrored else 1)
        )

    @property
    def inverted(self) -> Alignment:
        """The alignment from the second picture to the first."""
        return replace(
            self,
            matrix=np.linalg.inv(self.matrix).astype(np.float64),
            overlap=self.overlap[::-1],
            contrast=1 / self.contrast,
            brightness=-self.brightness,
            sharpness=1 / self.sharpness,
            saturation=self.saturation[::-1],
            plain_outside=self.plain_outside[::-1],
        )


def reduced_picture(picture: Picture) -> ReducedPicture:
    """Reduce a picture and find its SIFT points (Lowe, IJCV 2004). Raises LookalikeError without OpenCV."""
    cv2 = opencv()
    image = picture.image.copy()
    image.thumbnail((_SIDE, _SIDE), reducing_gap=2.0)
    rgb = np.asarray(image)
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    detector = cv2.SIFT_create(nfeatures=_N_POINTS, contrastThreshold=_CONTRAST)
    keypoints, descriptors = detector.detectAndCompute(gray, None)
    points = np.array([point.pt for point in keypoints], dtype=np.float32).reshape(-1, 2)
    if descriptors is None:
        descriptors = np.zeros((0, 128))
    return ReducedPicture(
        gray,
        points,
        descriptors.astype(np.uint8),
        _inner(gray),
        _tiny(gray),
        float((rgb.max(2) - rgb.min(2)).mean()),
        picture.original_size,
    )


def mirrored_tiny(tiny: FloatArray) -> FloatArray:
    """Return the tiny pictures (G, 144) of the mirror images."""
    return np.ascontiguousarray(tiny.reshape(-1, _TINY, _TINY)[:, :, ::-1].reshape(-1, _TINY * _TINY))


def align_pictures(first: ReducedPicture, second: ReducedPicture) -> Alignment | None:
    """Return the transformation under which two pictures agree best; None if none is plausible.

    SIFT points are paired by the ratio test, as they are and mirrored, and an affine transformation is
    fitted by MAGSAC++ (Barath et al., CVPR 2020). Where there are few points, pixels are aligned from the
    whole pictures and from their contents without plain borders, by the enhanced correlation coefficient
    (Evangelidis and Psarakis, TPAMI 2008).
    """
    found: list[tuple[_Matrix, int]] = []
    best = None
    for mirrored in (False, True):
        by_points = _by_points(first, second, mirrored)
        found += [] if by_points is None else [by_points]
        best = _best(first, second, found)
        if best is not None and best.agreement > _SURE:  # a symmetric thing matches its mirror image as well
            break
    is_plain = min(len(first.points), len(second.points)) < _FEW_POINTS
    if best is None or best.agreement < _AGREED:
        near = best is not None and best.agreement > _AGREED / 2
        starts = [(matrix, 0) for matrix, _ in found] if near else _starts(first, second) if is_plain else []
        by_pixels = [_by_pixels(first, second, matrix) for matrix, _ in starts]
        refined = _best(first, second, [(matrix, 0) for matrix in by_pixels if matrix is not None])
        best = max((each for each in (best, refined) if each), key=lambda each: each.agreement, default=None)
    return best


def _tiny(gray: NDArray[np.uint8]) -> FloatArray:
    cv2 = opencv()
    small = cv2.resize(gray, (_TINY, _TINY), interpolation=cv2.INTER_AREA).astype(np.float32).reshape(-1)
    centered = small - small.mean()
    return np.asarray(centered / max(1e-3, float(np.linalg.norm(centered))), dtype=np.float32)


def _best(
    first: ReducedPicture, second: ReducedPicture, found: list[tuple[_Matrix, int]]
) -> Alignment | None:
    judged = [_judged(first, second, matrix, n) for matrix, n in found if _is_plausible(matrix)]
    return max((each for each in judged if each), key=lambda each: each.agreement, default=None)


def _by_points(first: ReducedPicture, second: ReducedPicture, mirrored: bool) -> tuple[_Matrix, int] | None:
    """The transformation that most pairs of points agree on, and their number."""
    if min(len(first.points), len(second.points)) < _MIN_INLIERS:
        return None
    other = mirrored_descriptors(second.descriptors) if mirrored else second.descriptors
    rows, columns = feature_pairs(root_sift(first.descriptors), root_sift(other)).T
    if len(rows) < _MIN_INLIERS:
        return None
    a, b = first.points[rows].astype(np.float64), second.points[columns].astype(np.float64)
    matrix = affine_between(a, b, _TOLERANCE, n_tries=1000)
    if matrix is None or (np.linalg.det(matrix[:2, :2]) < 0) != mirrored:
        return None
    distances = np.linalg.norm(a @ matrix[:2, :2].T + matrix[:2, 2] - b, axis=1)
    n_inliers = int((distances < _TOLERANCE).sum())
    return None if n_inliers < _MIN_INLIERS else (matrix, n_inliers)


def _starts(first: ReducedPicture, second: ReducedPicture) -> list[tuple[_Matrix, int]]:
    """Whole on whole and inner on inner part, each as it is and mirrored."""
    boxes = [((0, 0, *each.gray.shape[::-1]), each.inner) for each in (first, second)]
    pairs = [(a, b) for a in boxes[0] for b in boxes[1]]
    matrices = [_box_to_box(a, b, mirrored) for a, b in dict.fromkeys(pairs) for mirrored in (False, True)]
    return [(matrix, 0) for matrix in matrices]


def _box_to_box(a: tuple[int, ...], b: tuple[int, ...], mirrored: bool) -> _Matrix:
    x, y = (b[2] - b[0]) / (a[2] - a[0]), (b[3] - b[1]) / (a[3] - a[1])
    if mirrored:
        return np.array([[-x, 0, b[2] + x * a[0]], [0, y, b[1] - y * a[1]], [0, 0, 1]])
    return np.array([[x, 0, b[0] - x * a[0]], [0, y, b[1] - y * a[1]], [0, 0, 1]])


def _by_pixels(first: ReducedPicture, second: ReducedPicture, start: _Matrix) -> _Matrix | None:
    """The start refined by the enhanced correlation coefficient; None if it does not converge."""
    cv2 = opencv()
    small, scales = zip(*(_shrunk(each.gray) for each in (first, second)), strict=True)
    to_small = np.diag([scales[1], scales[1], 1]) @ start @ np.diag([1 / scales[0], 1 / scales[0], 1])
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _STEPS, 1e-4)
    try:
        value, matrix = cv2.findTransformECC(
            small[0], small[1], to_small[:2].astype(np.float32), cv2.MOTION_AFFINE, criteria, None, 5
        )
    except cv2.error:
        return None
    if value < 0.5:
        return None
    return np.diag([1 / scales[1], 1 / scales[1], 1]) @ _square(matrix) @ np.diag([scales[0], scales[0], 1])


def _shrunk(gray: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], float]:
    cv2 = opencv()
    scale = min(1.0, _SMALL / max(gray.shape))
    return cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), scale


def _is_plausible(matrix: _Matrix) -> bool:
    """Whether neither scale nor stretch is beyond what editing a picture does."""
    scales = np.linalg.svd(matrix[:2, :2], compute_uv=False)
    return bool(
        scales[1] > 1 / _MOST_SCALE and scales[0] < _MOST_SCALE and scales[0] < _MOST_STRETCH * scales[1]
    )


def _judged(
    first: ReducedPicture, second: ReducedPicture, matrix: _Matrix, n_inliers: int
) -> Alignment | None:
    """Lay the second over the first and compare; None if they hardly overlap or show nothing there."""
    cv2 = opencv()
    height, width = first.gray.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(second.gray, matrix[:2], (width, height), flags=flags)
    ones = np.full(second.gray.shape, 255, dtype=np.uint8)
    inside = cv2.warpAffine(ones, matrix[:2], (width, height), flags=flags) > 250
    area = float(inside.mean())
    if area < 0.05:
        return None
    a, b = (cv2.GaussianBlur(each, (0, 0), _BLUR).astype(np.float32) for each in (first.gray, laid))
    correlation, texture = _correlation(a, b, inside)
    shown = inside & (texture > _TEXTURE)
    if shown.sum() < _LEAST_TEXTURE * inside.sum():
        return None
    spread = (max(1e-3, float(each[inside].std())) for each in (a, b))
    deviation_a, deviation_b = spread
    detail = [
        float(np.abs(each.astype(np.float32) - smooth)[inside].mean())
        for each, smooth in ((first.gray, a), (laid, b))
    ]
    sides = np.diag([first.size[1] / width, first.size[0] / height, 1])
    other = np.diag([second.size[1] / second.gray.shape[1], second.size[0] / second.gray.shape[0], 1])
    share = area * height * width * abs(np.linalg.det(matrix[:2, :2])) / second.gray.size
    return Alignment(
        matrix=other @ matrix @ np.linalg.inv(sides),
        n_inliers=n_inliers,
        agreement=float((correlation[shown] > _AGREES).mean()),
        equality=float((correlation[shown] > _EQUAL).mean()),
        overlap=(area, min(1.0, float(share))),
        contrast=deviation_b / deviation_a,
        brightness=float(b[inside].mean() - a[inside].mean()),
        sharpness=(detail[1] + 0.05) / (detail[0] + 0.05) / (deviation_b / deviation_a),
        saturation=(first.saturation, second.saturation),
        plain_outside=(_is_plain(first.gray, ~inside), _outside_is_plain(second, first, matrix)),
    )


def _correlation(a: FloatArray, b: FloatArray, inside: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Correlation of two gray pictures in a window around each pixel, and the larger deviation of both."""
    weight = _mean(inside.astype(np.float32)) + 1e-6
    first, second = a * inside, b * inside
    mean_a, mean_b = _mean(first) / weight, _mean(second) / weight
    variance_a = np.maximum(_mean(first * a) / weight - mean_a**2, 0)
    variance_b = np.maximum(_mean(second * b) / weight - mean_b**2, 0)
    covariance = _mean(first * b) / weight - mean_a * mean_b
    texture = np.sqrt(np.maximum(variance_a, variance_b))
    return covariance / np.sqrt(variance_a * variance_b + 1), texture


def _mean(values: FloatArray) -> FloatArray:
    blurred: FloatArray = opencv().boxFilter(values, -1, (_WINDOW, _WINDOW))
    return blurred


def _is_plain(gray: NDArray[np.uint8], where: NDArray[np.bool_]) -> bool:
    """Whether a part of a picture has one gray value, as a border has; False for a negligible part."""
    return bool(where.mean() > 0.01 and np.abs(gray[where] - np.median(gray[where])).mean() < _PLAIN_EDGE)


def _outside_is_plain(picture: ReducedPicture, other: ReducedPicture, matrix: _Matrix) -> bool:
    cv2 = opencv()
    ones = np.full(other.gray.shape, 255, dtype=np.uint8)
    covered = cv2.warpAffine(ones, matrix[:2], picture.gray.shape[::-1]) > 0
    return _is_plain(picture.gray, ~covered)


def _inner(gray: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom without rows and columns at the edges that have one gray value."""
    left, right = _ends(gray.std(0) > _PLAIN_EDGE)
    top, bottom = _ends(gray[:, left:right].std(1) > _PLAIN_EDGE)
    return left, top, right, bottom


def _ends(is_shown: NDArray[np.bool_]) -> tuple[int, int]:
    shown = np.flatnonzero(is_shown)
    return (int(shown[0]), int(shown[-1]) + 1) if len(shown) > len(is_shown) // 4 else (0, len(is_shown))


def _square(matrix: NDArray[Any]) -> _Matrix:
    return np.vstack([matrix, [0, 0, 1]]).astype(np.float64)
