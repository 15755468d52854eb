"""Painting styles that are drawn stroke by stroke: flow fields, discs, curves, flowers, towns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lookalike.scenes.noise import smooth_noise, square_grid
from lookalike.scenes.palettes import Rgb, color_ramp, mix, random_palette, shade, shuffled
from lookalike.types import FloatArray


def flow_strokes(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Brush strokes that follow a random wind: (n, n, 3)."""
    colors = random_palette(rng)
    field = smooth_noise(rng, (64, 64), cells=(3, 3)) * rng.uniform(4, 9) + rng.uniform(0, 6)
    count = int(rng.integers(260, 420))
    paths = _drift(rng.random((count, 2), dtype=np.float32) * 1.2 - 0.1, field, steps=14)  # (steps, count, 2)
    image = Image.new("RGB", (n, n), colors[0] if rng.random() < 0.6 else colors[4])
    draw = ImageDraw.Draw(image)
    hue_field = smooth_noise(rng, (64, 64), cells=(2, 2))
    width = rng.uniform(0.012, 0.03)
    for stroke in range(count):
        x, y = np.clip(paths[7, stroke] * 64, 0, 63).astype(int)
        tone = int(np.clip(hue_field[y, x] * 4.4 + rng.normal(0, 0.5), 0, 4))
        color = shade(colors[tone], rng.uniform(0.8, 1.15))
        draw.line((paths[:, stroke] * n).ravel().tolist(), fill=color, width=max(1, round(n * width)))
    return np.asarray(image)


def _drift(start: FloatArray, angles: FloatArray, *, steps: int) -> FloatArray:
    """Where points that follow the angles go: (steps, count, 2), coordinates in [0, 1]."""
    points = [start]
    for _ in range(steps - 1):
        cell = np.clip(points[-1] * 64, 0, 63).astype(np.int32)
        angle = angles[cell[:, 1], cell[:, 0]]
        heading = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
        points.append(points[-1] + 0.02 * heading)
    return np.stack(points)


def discs(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Rings within rings of many sizes, over a ground of two colors: (n, n, 3)."""
    colors = random_palette(rng)
    image = Image.new("RGB", (n, n), colors[4])
    draw = ImageDraw.Draw(image)
    corner = rng.uniform(-0.2, 1.2, 2) * n
    draw.polygon([(0, 0), (corner[0], 0), (n - corner[0], n), (0, n)], fill=colors[int(rng.integers(0, 4))])
    for _ in range(int(rng.integers(5, 13))):
        x, y, radius = rng.uniform(0.05, 0.95) * n, rng.uniform(0.05, 0.95) * n, rng.uniform(0.08, 0.3) * n
        for ring, color in zip(
            np.linspace(1, 0.2, int(rng.integers(2, 6))), shuffled(rng, colors), strict=False
        ):
            r = radius * ring
            draw.ellipse((x - r, y - r, x + r, y + r), fill=color)
    for _ in range(int(rng.integers(0, 6))):
        ends = (rng.uniform(0, n, 4)).tolist()
        draw.line(ends, fill=shade(colors[0], 0.6), width=max(1, round(n * rng.uniform(0.006, 0.015))))
    return np.asarray(image)


def ring_grid(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """A grid of squares, each with uneven rings of its own colors: (n, n, 3)."""
    rows, columns = int(rng.integers(2, 5)), int(rng.integers(2, 5))
    colors = random_palette(rng) + random_palette(rng)[1:3]
    image = Image.new("RGB", (n, n))
    draw = ImageDraw.Draw(image)
    for row in range(rows):
        for column in range(columns):
            tones = shuffled(rng, colors)
            left, top, width, height = column * n / columns, row * n / rows, n / columns, n / rows
            draw.rectangle((left, top, left + width, top + height), fill=tones[0])
            center_x, center_y = (
                left + width * rng.uniform(0.44, 0.56),
                top + height * rng.uniform(0.44, 0.56),
            )
            for ring, tone in zip((0.47, 0.36, 0.25, 0.13), tones[1:], strict=False):
                rx, ry = width * ring * rng.uniform(0.88, 1.05), height * ring * rng.uniform(0.88, 1.05)
                draw.ellipse((center_x - rx, center_y - ry, center_x + rx, center_y + ry), fill=tone)
    return np.asarray(image)


def spirograph(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Two or three curves of a wheel rolling in a wheel, on a soft ground: (n, n, 3)."""
    colors = random_palette(rng)
    dark = rng.random() < 0.6
    ground = [colors[0], shade(colors[1], 0.6)] if dark else [colors[4], colors[3]]
    x, y = square_grid(n)
    image = Image.fromarray(color_ramp(ground, np.hypot(x, y) * 0.75))
    draw = ImageDraw.Draw(image)
    inks = shuffled(rng, colors[2:] if dark else colors[:3])
    for curve in range(int(rng.integers(2, 4))):
        outer, inner = int(rng.integers(7, 20)), int(rng.integers(2, 7))
        arm = rng.uniform(0.5, 1.6) * inner
        t = np.linspace(0, 2 * np.pi * inner / np.gcd(outer, inner), 900)
        px = (outer - inner) * np.cos(t) + arm * np.cos((outer - inner) / inner * t)
        py = (outer - inner) * np.sin(t) - arm * np.sin((outer - inner) / inner * t)
        scale = rng.uniform(0.3, 0.48) * n / (abs(outer - inner) + arm)
        points = np.stack([px, py], axis=1) * scale + n / 2
        draw.line(
            points.ravel().tolist(), fill=inks[curve % 3], width=max(1, round(n * rng.uniform(0.008, 0.022)))
        )
    return np.asarray(image)


def mandala(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Petals and rings around a center, like a kaleidoscope: (n, n, 3)."""
    colors = shuffled(rng, random_palette(rng))
    x, y = square_grid(n)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    fold = int(rng.choice([5, 6, 8, 10, 12]))
    wedge = np.abs((angle * fold / (2 * np.pi)) % 1.0 - 0.5) * 2
    picture = np.empty((n, n, 3), dtype=np.uint8)
    picture[:] = colors[0]
    for layer, outer in enumerate(np.linspace(1.15, 0.2, int(rng.integers(5, 8)))):
        depth, sharp = rng.uniform(0.1, 0.45), rng.choice([0.6, 1.0, 2.0])
        offset = wedge if layer % 2 else 1 - wedge
        inside = radius < outer * (1 - depth * offset**sharp)
        picture[inside] = colors[(layer + 1) % 5]
        picture[inside & (radius > outer * (1 - depth * offset**sharp) - 0.035)] = shade(
            colors[layer % 5], 0.6
        )
    return picture


def bouquet(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Flowers of layered petals in a vase before a plain ground: (n, n, 3)."""
    colors = random_palette(rng)
    ground = shuffled(rng, [colors[0], colors[3], colors[4], colors[1]])
    image = Image.new("RGB", (n, n), ground[0])
    draw = ImageDraw.Draw(image)
    table = n * rng.uniform(0.74, 0.86)
    draw.rectangle((0, table, n, n), fill=ground[1])
    heads = rng.uniform((0.14, 0.1), (0.86, 0.55), (int(rng.integers(5, 11)), 2)) * n
    stem = mix(colors[int(rng.integers(0, 3))], (50, 110, 50), 0.55)
    for x, y in heads:
        draw.line((x, y, n / 2, n * 0.72), fill=stem, width=max(1, round(n * 0.012)))
    neck, belly = n * rng.uniform(0.05, 0.1), n * rng.uniform(0.1, 0.18)
    vase = [
        (n / 2 - neck, n * 0.6),
        (n / 2 + neck, n * 0.6),
        (n / 2 + belly, n * 0.78),
        (n / 2 + neck, n * 0.93),
    ]
    vase += [(n / 2 - neck, n * 0.93), (n / 2 - belly, n * 0.78)]
    draw.polygon(vase, fill=ground[2])
    for x, y in heads:
        tones = [colors[int(rng.integers(1, 4))], colors[4], colors[2]]
        _flower(draw, rng, (float(x), float(y)), n * rng.uniform(0.07, 0.14), tones)
    return np.asarray(image)


def _flower(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    center: tuple[float, float],
    radius: float,
    colors: list[Rgb],
) -> None:
    petals, turn = int(rng.integers(5, 9)), rng.uniform(0, 1)
    for layer, size in enumerate((1.0, 0.62)):
        for petal in range(petals):
            angle = 2 * np.pi * (petal + turn + layer / 2) / petals
            x = center[0] + radius * size * 0.6 * np.cos(angle)
            y = center[1] + radius * size * 0.6 * np.sin(angle)
            r = radius * size * 0.42
            draw.ellipse(
                (x - r, y - r, x + r, y + r), fill=shade(colors[0], 0.9 + 0.2 * layer - 0.05 * (petal % 3))
            )
    r = radius * 0.28
    draw.ellipse((center[0] - r, center[1] - r, center[0] + r, center[1] + r), fill=colors[1])


def town(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Rows of houses with roofs and windows, one row before the other: (n, n, 3)."""
    colors = random_palette(rng)
    _, y = square_grid(n)
    image = Image.fromarray(color_ramp([colors[int(rng.integers(1, 4))], colors[4]], y * 0.5 + 0.5))
    draw = ImageDraw.Draw(image)
    rows = int(rng.integers(2, 4))
    lit = mix(colors[4], (255, 225, 140), 0.6)
    for row in range(rows):
        foot, x = n * (0.62 + 0.38 * (row + 1) / rows), -0.05 * n
        while x < n:
            width, height = n * rng.uniform(0.1, 0.22), n * rng.uniform(0.2, 0.5)
            color = shade(colors[int(rng.integers(0, 4))], 0.75 + 0.3 * row / rows)
            _house(draw, rng, (x, foot - height, x + width, foot), color, lit)
            x += width
    return np.asarray(image)


def _house(
    draw: ImageDraw.ImageDraw,
    rng: np.random.Generator,
    box: tuple[float, float, float, float],
    color: Rgb,
    lit: Rgb,
) -> None:
    left, top, right, bottom = box
    width = right - left
    draw.rectangle(box, fill=color)
    if rng.random() < 0.6:
        peak = top - width * rng.uniform(0.3, 0.8)
        draw.polygon([(left, top), ((left + right) / 2, peak), (right, top)], fill=shade(color, 0.65))
    pane = width / 5
    for row in np.arange(top + pane, bottom - pane, pane * 2.2):
        for column in (left + pane * 0.9, left + pane * 3.1):
            fill = lit if rng.random() < 0.6 else shade(color, 0.5)
            draw.rectangle((column, row, column + pane, row + pane * 1.2), fill=fill)
