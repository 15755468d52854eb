"""Regions of a photograph that may show one thing each: rectangles, and areas unlike the background."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookalike.rerankers.local_features import Frame, opencv
from lookalike.types import Picture, Shares

_SIDE = 512  # pixels of the longer side in which regions are looked for
_SMALLEST, _LARGEST = 0.008, 0.9  # of the picture's area
_RIM = 0.04  # of the picture's sides: what is taken for background
_BACKGROUNDS = 3  # colors of it
_SAME = 0.7  # intersection over union of two boxes that are one region
_EDGES = ((25, 75), (60, 160))  # thresholds of Canny
_DIFFERENCES = (4, 10)  # gray levels between neighbors of one background

_Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Proposal:
    """A region that may show one thing: left, top, right, bottom in original pixels."""

    box: Frame
    score: float  # [0, 1]: how much it looks like a picture on a wall or a thing before a background
    kind: str  # "rectangle", "area", "cells" or "whole"


def propose_regions(picture: Picture, shares: Shares | None = None, *, limit: int = 12) -> list[Proposal]:
    """Return up to ``limit`` regions of a picture, best first, and the whole picture last.

    Rectangles come from contours of edges; areas from what differs from the rim of the picture in color,
    and, with ``shares``, from cells of the model that are unlike those at the rim. Of overlapping boxes the
    better is kept (non-maximum suppression). Raises LookalikeError without OpenCV.
    """
    cv2 = opencv()
    height, width = picture.original_size
    scale = min(1.0, _SIDE / max(picture.image.size))
    size = (max(8, round(picture.image.width * scale)), max(8, round(picture.image.height * scale)))
    pixels = cv2.resize(np.asarray(picture.image), size, interpolation=cv2.INTER_AREA)
    found = [*_rectangles(pixels), *_areas(pixels)]
    x, y = width / size[0], height / size[1]
    proposals = [
        Proposal((left * x, top * y, right * x, bottom * y), score, kind)
        for (left, top, right, bottom), score, kind in found
    ]
    if shares is not None:
        proposals += _unlike_the_rim(shares)
    whole = Proposal((0.0, 0.0, float(width), float(height)), 0.0, "whole")
    area = float(width * height)
    fitting = [p for p in proposals if _SMALLEST * area < box_area(p.box) < _LARGEST * area]
    kept: list[Proposal] = []
    for proposal in sorted(fitting, key=lambda p: (-p.score, p.box)):
        if all(overlap(proposal.box, other.box) < _SAME for other in kept):
            kept.append(proposal)
    return [*kept[:limit], whole]


def overlap(a: Frame, b: Frame) -> float:
    """Intersection over union of two boxes, [0, 1]."""
    common = common_area(a, b)
    return common / max(box_area(a) + box_area(b) - common, 1e-9)


def common_area(a: Frame, b: Frame) -> float:
    """The area that two boxes have in common."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def box_area(box: Frame) -> float:
    """The area of a box."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


_Found = tuple[Frame, float, str]


def _rectangles(pixels: _Pixels) -> Iterator[_Found]:
    """Boxes of contours that are nearly rectangles, turned ones too."""
    cv2 = opencv()
    smooth = cv2.bilateralFilter(pixels, 7, 40, 7)
    for channel in cv2.split(cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB)):
        for low, high in _EDGES:
            edges = cv2.dilate(cv2.Canny(channel, low, high), np.ones((3, 3), np.uint8), iterations=2)
            contours, _ = cv2.findContours(edges, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
            yield from _filled(contours, pixels, 1.0, "rectangle", least=0.7)


def _areas(pixels: _Pixels) -> Iterator[_Found]:
    """Boxes of what differs from the rim: in color, and by what does not join the rim smoothly."""
    cv2 = opencv()
    height, width = pixels.shape[:2]
    lab = cv2.cvtColor(cv2.GaussianBlur(pixels, (0, 0), 2), cv2.COLOR_RGB2LAB)
    rim = np.zeros((height, width), dtype=bool)
    dy, dx = max(1, round(_RIM * height)), max(1, round(_RIM * width))
    rim[:dy], rim[-dy:], rim[:, :dx], rim[:, -dx:] = True, True, True, True
    samples = lab[rim].astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 20, 1.0)
    cv2.setRNGSeed(0)
    n = min(_BACKGROUNDS, len(np.unique(samples, axis=0)))
    _, _, colors = cv2.kmeans(samples, n, None, criteria, 1, cv2.KMEANS_PP_CENTERS)
    differences = lab.astype(np.float32)[:, :, None] - colors[None, None]
    distance = np.clip(np.linalg.norm(differences, axis=3).min(2) * 3, 0, 255).astype(np.uint8)
    _, unlike = cv2.threshold(distance, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    yield from _components(unlike, pixels)
    for difference in _DIFFERENCES:
        mask = np.zeros((height + 2, width + 2), dtype=np.uint8)
        for x, y in _along_the_rim(width, height):
            if not mask[y + 1, x + 1]:
                flags = 4 | cv2.FLOODFILL_MASK_ONLY | (255 << 8)
                cv2.floodFill(lab.copy(), mask, (x, y), 0, (difference,) * 3, (difference,) * 3, flags)
        yield from _components(255 - mask[1:-1, 1:-1], pixels)


def _along_the_rim(width: int, height: int, n: int = 6) -> Iterator[tuple[int, int]]:
    for i in range(n):
        x, y = round((width - 1) * i / (n - 1)), round((height - 1) * i / (n - 1))
        yield from ((x, 0), (x, height - 1), (0, y), (width - 1, y))


def _components(mask: _Pixels, pixels: _Pixels) -> Iterator[_Found]:
    """Boxes of the connected parts of a mask, at two degrees of closing its gaps."""
    cv2 = opencv()
    for radius in (2, 7):
        kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * radius + 1, 2 * radius + 1))
        clean = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        whole = cv2.morphologyEx(clean, cv2.MORPH_CLOSE, kernel)
        contours, _ = cv2.findContours(whole, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        yield from _filled(contours, pixels, 0.9, "area", least=0.4)


def _filled(
    contours: Sequence[NDArray[np.int32]], pixels: _Pixels, weight: float, kind: str, *, least: float
) -> Iterator[_Found]:
    """Boxes of contours whose hull fills ``least`` of the smallest turned rectangle around it."""
    cv2 = opencv()
    area = pixels.shape[0] * pixels.shape[1]
    for contour in contours:
        left, top, width, height = cv2.boundingRect(contour)
        if not _SMALLEST * area < width * height < _LARGEST * area:
            continue
        hull = cv2.contourArea(cv2.convexHull(contour))
        sides = cv2.minAreaRect(contour)[1]
        fill = hull / max(sides[0] * sides[1], 1.0)
        if fill < least or min(sides) < 0.15 * max(sides):
            continue
        yield (left, top, left + width, top + height), weight * min(1.0, fill), kind


def _unlike_the_rim(shares: Shares) -> list[Proposal]:
    """Boxes of connected cells that are less like the mean of the cells at the rim than the others."""
    cv2 = opencv()
    h, w = shares.grid
    if min(h, w) < 4:
        return []
    cells = shares.values.double().numpy().reshape(h, w, -1)
    cells = cells / np.maximum(np.linalg.norm(cells, axis=2, keepdims=True), 1e-12)
    rim = np.ones((h, w), dtype=bool)
    rim[1:-1, 1:-1] = False
    unlike = 1 - cells @ cells[rim].mean(0)
    unlike = 255 * (unlike - unlike.min()) / max(float(np.ptp(unlike)), 1e-12)
    _, mask = cv2.threshold(unlike.astype(np.uint8), 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    _, _, found, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    proposals = []
    for x, y, width, height, n in found[1:].tolist():
        if n < 2:
            continue
        left, top, _, _ = shares.geometry.cell_box(y, x, shares.grid)
        _, _, right, bottom = shares.geometry.cell_box(y + height - 1, x + width - 1, shares.grid)
        original = shares.geometry.original_size
        box = (max(0.0, left), max(0.0, top), min(right, float(original[1])), min(bottom, float(original[0])))
        proposals.append(Proposal(box, 0.6 * n / (width * height), "cells"))
    return proposals
