"""Painting styles that divide the canvas: Truchet tiles, quarter circles, stained glass and others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lookalike.scenes.noise import square_grid
from lookalike.scenes.palettes import Rgb, mix, random_palette, shade, shuffled
from lookalike.types import FloatArray

_Box = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def truchet(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Tiles with two quarter rings each, turned at random, that join into winding bands: (n, n, 3)."""
    colors = random_palette(rng)
    k = int(rng.integers(4, 8))
    width = rng.uniform(0.11, 0.19)
    x, y = square_grid(n)
    across, down = (x + 1) * k / 2, (y + 1) * k / 2  # in tiles
    column, row = across.astype(np.int32), down.astype(np.int32)
    flip = rng.integers(0, 2, (k + 1, k + 1))[row, column]
    u, v = across - column, down - row
    u = np.where(flip == 1, 1 - u, u)
    distance = np.minimum(np.hypot(u, v), np.hypot(1 - u, 1 - v))
    inside = np.abs(distance - 0.5)
    ground, line, edge = (np.array(c) for c in (colors[4], colors[1], colors[0]))
    accent = np.array(colors[2])
    if rng.random() < 0.5:
        ground, line = line, ground
    picture = np.where(((row + column + flip) % 2 == 1)[..., None], ground, accent)
    picture = np.where((inside < width)[..., None], edge, picture)
    return np.where((inside < width * 0.72)[..., None], line, picture).astype(np.uint8)


def quarter_circles(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """A grid of squares with quarter, half and full discs in flat colors: (n, n, 3)."""
    colors = random_palette(rng)
    image = Image.new("RGB", (n, n), colors[4])
    draw = ImageDraw.Draw(image)
    k = int(rng.integers(3, 6))
    side = n / k
    for row in range(k):
        for column in range(k):
            box = (column * side, row * side, (column + 1) * side, (row + 1) * side)
            _tile(draw, rng, box, shuffled(rng, colors))
    return np.asarray(image)


def _tile(draw: ImageDraw.ImageDraw, rng: np.random.Generator, box: _Box, colors: list[Rgb]) -> None:
    left, top, right, bottom = box
    side = right - left
    draw.rectangle(box, fill=colors[0])
    kind, turn = int(rng.integers(5)), int(rng.integers(4))
    corner_x, corner_y = (right, left, left, right)[turn], (bottom, bottom, top, top)[turn]
    if kind <= 1:
        for radius, color in ((side, colors[1]), (side * rng.uniform(0.35, 0.65), colors[2])):
            circle = (corner_x - radius, corner_y - radius, corner_x + radius, corner_y + radius)
            draw.pieslice(circle, 180 + 90 * turn, 270 + 90 * turn, fill=color)
    elif kind == 2:
        draw.ellipse(_inset(box, side * 0.08), fill=colors[1])
        draw.pieslice(_inset(box, side * 0.08), 90 * turn, 90 * turn + 180, fill=colors[2])
    elif kind == 3:
        draw.ellipse(_inset(box, side * 0.12), fill=colors[1])
        draw.ellipse(_inset(box, side * 0.32), fill=colors[3])
    else:
        opposite = (left + right - corner_x, top + bottom - corner_y)
        draw.polygon([(corner_x, corner_y), (opposite[0], corner_y), (corner_x, opposite[1])], fill=colors[1])


def _inset(box: _Box, margin: float) -> _Box:
    return box[0] + margin, box[1] + margin, box[2] - margin, box[3] - margin


def stained_glass(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Cells around random points, glowing glass between dark leads: (n, n, 3)."""
    colors = random_palette(rng)
    count = int(rng.integers(14, 42))
    seeds = rng.uniform(-1.1, 1.1, (count, 2)).astype(np.float32)
    if rng.random() < 0.4:  # rings of cells around a center: a rose window
        ring = 0.3 + 0.35 * (np.arange(count) % 3)
        angle = np.arange(count) // 3 * (2 * np.pi / (count // 3)) + ring
        seeds = np.stack([ring * np.cos(angle), ring * np.sin(angle)], axis=1).astype(np.float32)
    x, y = square_grid(n)
    owner, nearest, second = _two_nearest(x, y, seeds)
    choice = rng.integers(1, 5, count)
    tints = np.array(
        [shade(colors[c], f) for c, f in zip(choice, rng.uniform(0.8, 1.15, count), strict=True)]
    )
    glow = 1.08 - 0.5 * nearest
    picture = np.clip(tints[owner] * glow[..., None], 0, 255)
    lead = (second - nearest) < rng.uniform(0.03, 0.06)
    picture[lead] = shade(colors[0], 0.5)
    return np.asarray(picture, dtype=np.uint8)


def _two_nearest(
    x: FloatArray, y: FloatArray, points: FloatArray
) -> tuple[NDArray[np.intp], FloatArray, FloatArray]:
    """Of each pixel: index of the nearest point, and distances to the nearest and the second: (n, n)."""
    owner = np.zeros(x.shape, dtype=np.intp)
    nearest, second = np.full_like(x, np.inf), np.full_like(x, np.inf)
    for index, (point_x, point_y) in enumerate(points):
        squared = (x - point_x) ** 2 + (y - point_y) ** 2
        closer = squared < nearest
        second = np.minimum(second, np.where(closer, nearest, squared))
        nearest = np.minimum(nearest, squared)
        owner[closer] = index
    return owner, np.sqrt(nearest), np.sqrt(second)


def subdivision(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """A canvas split again and again into rectangles with heavy lines, few of them colored: (n, n, 3)."""
    colors = random_palette(rng)
    image = Image.new("RGB", (n, n), colors[4])
    draw = ImageDraw.Draw(image)
    line = max(2, round(n * rng.uniform(0.012, 0.03)))
    ink = shade(colors[0], 0.5)
    for box in _split(rng, (0, 0, n, n), depth=int(rng.integers(4, 6))):
        color = (
            colors[int(rng.integers(1, 4))] if rng.random() < 0.5 else mix(colors[4], (255, 255, 255), 0.4)
        )
        draw.rectangle(box, fill=color, outline=ink, width=line)
    return np.asarray(image)


def _split(rng: np.random.Generator, box: _Box, depth: int) -> list[_Box]:
    left, top, right, bottom = box
    if depth == 0 or (depth < 3 and rng.random() < 0.25):
        return [box]
    at = rng.uniform(0.28, 0.72)
    if (right - left) * rng.uniform(0.6, 1.6) > bottom - top:
        x = left + at * (right - left)
        return _split(rng, (left, top, x, bottom), depth - 1) + _split(
            rng, (x, top, right, bottom), depth - 1
        )
    y = top + at * (bottom - top)
    return _split(rng, (left, top, right, y), depth - 1) + _split(rng, (left, y, right, bottom), depth - 1)


def triangles(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """A jittered mesh of triangles colored along a random direction: (n, n, 3)."""
    colors = random_palette(rng) if rng.random() < 0.5 else shuffled(rng, random_palette(rng))
    k = int(rng.integers(4, 8))
    rows, columns = np.mgrid[0 : k + 1, 0 : k + 1].astype(np.float64)
    points = np.stack([columns, rows], axis=-1) / k
    points[1:-1, 1:-1] += rng.uniform(-0.36, 0.36, (k - 1, k - 1, 2)) / k
    angle = rng.uniform(0, 2 * np.pi)
    direction = np.array([np.cos(angle), np.sin(angle)])
    image = Image.new("RGB", (n, n))
    draw = ImageDraw.Draw(image)
    for row in range(k):
        for column in range(k):
            a, b = points[row, column], points[row, column + 1]
            c, d = points[row + 1, column], points[row + 1, column + 1]
            for corners in ((a, b, d), (a, d, c)) if rng.random() < 0.5 else ((a, b, c), (b, d, c)):
                where = float(np.mean(corners, axis=0) @ direction) * 0.5 + 0.5 + rng.normal(0, 0.12)
                color = _between(colors, where)
                draw.polygon([(x * n, y * n) for x, y in corners], fill=shade(color, rng.uniform(0.85, 1.12)))
    return np.asarray(image)


def _between(colors: list[Rgb], position: float) -> Rgb:
    """The color at a position in [0, 1] of a scale; folded back beyond its ends."""
    position = (1.0 - abs((position % 2.0) - 1.0)) * (len(colors) - 1)
    index = min(int(position), len(colors) - 2)
    return mix(colors[index], colors[index + 1], position - index)


def hexagons(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Cubes seen from a corner, three tones each, some in other colors: (n, n, 3)."""
    colors = random_palette(rng)
    image = Image.new("RGB", (n, n), colors[0])
    draw = ImageDraw.Draw(image)
    radius = n / rng.integers(5, 9)
    angles = np.pi / 6 + np.arange(6) * np.pi / 3
    corners = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius
    tones = rng.permutation([1.12, 0.82, 0.55])
    step_x, step_y = radius * 3**0.5, radius * 1.5
    for row in range(-1, int(n / step_y) + 2):
        for column in range(-1, int(n / step_x) + 2):
            center = np.array([(column + 0.5 * (row % 2)) * step_x, row * step_y])
            color = colors[int(rng.choice([1, 2, 3, 4], p=[0.4, 0.25, 0.2, 0.15]))]
            for face, tone in enumerate(tones):
                ring = [center, *(center + corners[(2 * face + i) % 6] for i in (1, 2, 3))]
                draw.polygon([(float(x), float(y)) for x, y in ring], fill=shade(color, tone))
    return np.asarray(image)
