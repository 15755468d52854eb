"""Flat textures of walls and floors, in pixels per meter, before the camera sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lookalike.scenes.furniture import fabric, wood
from lookalike.scenes.noise import smooth_noise
from lookalike.scenes.palettes import Rgb, mix, rgb, shade
from lookalike.types import FloatArray

Size = tuple[float, float]  # (height, width) in meters


def wall(rng: np.random.Generator, size: Size, scale: float) -> Image.Image:
    """A wall of (height, width) meters at ``scale`` pixels a meter: paint, paper, wood, brick, concrete."""
    kind = rng.choice(7, p=[0.32, 0.12, 0.12, 0.14, 0.1, 0.1, 0.1])
    color = wall_color(rng)
    if kind == 0:
        image = _blank(size, scale, color)
    elif kind == 1:
        image = _striped(rng, size, scale, color)
    elif kind == 2:
        image = _papered(rng, size, scale, color)
    elif kind == 3:
        image = _wainscot(rng, size, scale, color)
    elif kind == 4:
        image = _bricks(rng, size, scale)
    elif kind == 5:
        image = _planks(rng, size, scale, wood(rng), width=rng.uniform(0.1, 0.25), upright=True)
    else:
        image = _blank(size, scale, rgb(rng.uniform(0, 0.15), 0.04, rng.uniform(0.45, 0.8)))
        return _rough(rng, image, strength=0.22, octaves=5)
    return _rough(rng, image, strength=0.06, octaves=3)


def floor(rng: np.random.Generator, size: Size, scale: float) -> Image.Image:
    """A floor of (depth, width) meters at ``scale`` pixels a meter: boards, tiles or carpet."""
    kind = int(rng.integers(3))
    if kind == 0:
        return _rough(
            rng, _planks(rng, size, scale, wood(rng), width=rng.uniform(0.1, 0.2)), strength=0.08, octaves=3
        )
    if kind == 1:
        return _rough(rng, _tiles(rng, size, scale), strength=0.08, octaves=2)
    return _rough(rng, _blank(size, scale, shade(fabric(rng), 0.9)), strength=0.22, octaves=5)


def wall_color(rng: np.random.Generator) -> Rgb:
    """Paint for a wall: mostly pale, sometimes deep."""
    if rng.random() < 0.65:
        return rgb(rng.random(), rng.uniform(0.02, 0.22), rng.uniform(0.75, 0.95))
    return rgb(rng.random(), rng.uniform(0.2, 0.55), rng.uniform(0.35, 0.75))


def _pixels(size: Size, scale: float) -> tuple[int, int]:
    return max(8, round(size[0] * scale)), max(8, round(size[1] * scale))


def _blank(size: Size, scale: float, color: Rgb) -> Image.Image:
    height, width = _pixels(size, scale)
    return Image.new("RGB", (width, height), color)


def _rough(rng: np.random.Generator, image: Image.Image, *, strength: float, octaves: int) -> Image.Image:
    """The image with uneven brightness, at most ``strength`` of it."""
    size = (image.height, image.width)
    noise: FloatArray = smooth_noise(rng, size, cells=(3, 5), octaves=octaves)
    factor = 1.0 + strength * (noise - 0.5)
    return Image.fromarray(np.clip(np.asarray(image) * factor[..., None], 0, 255).astype(np.uint8))


def _striped(rng: np.random.Generator, size: Size, scale: float, color: Rgb) -> Image.Image:
    image = _blank(size, scale, color)
    draw = ImageDraw.Draw(image)
    other = mix(shade(color, rng.choice([0.82, 1.15])), fabric(rng), rng.uniform(0, 0.35))
    period, duty = rng.uniform(0.08, 0.35) * scale, rng.uniform(0.25, 0.6)
    for left in np.arange(0, image.width, period):
        draw.rectangle((left, 0, left + period * duty, image.height), fill=other)
    return image


def _papered(rng: np.random.Generator, size: Size, scale: float, color: Rgb) -> Image.Image:
    """Wallpaper: one small motif repeated, every other row shifted by half."""
    side = max(6, round(rng.uniform(0.1, 0.22) * scale))
    tile = Image.new("RGB", (side, 2 * side), color)
    draw = ImageDraw.Draw(tile)
    ink, inner = mix(shade(color, rng.choice([0.75, 1.2])), fabric(rng), 0.4), shade(color, 1.1)
    kind, reach = int(rng.integers(3)), rng.uniform(0.25, 0.48) * side
    for x, y in ((side / 2, side / 2), (0, 1.5 * side), (side, 1.5 * side)):
        if kind == 0:
            draw.polygon([(x - reach, y), (x, y - reach), (x + reach, y), (x, y + reach)], fill=ink)
        elif kind == 1:
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=ink)
            draw.ellipse((x - reach / 2, y - reach / 2, x + reach / 2, y + reach / 2), fill=inner)
        else:
            draw.ellipse((x - reach * 0.4, y - reach, x + reach * 0.4, y + reach), fill=ink)
            draw.ellipse((x - reach, y - reach * 0.35, x + reach, y + reach * 0.35), fill=ink)
    height, width = _pixels(size, scale)
    pixels: NDArray[np.uint8] = np.asarray(tile)
    repeats = (-(-height // tile.height), -(-width // side), 1)
    return Image.fromarray(np.ascontiguousarray(np.tile(pixels, repeats)[:height, :width]))


def _wainscot(rng: np.random.Generator, size: Size, scale: float, color: Rgb) -> Image.Image:
    """Paint above, panels below."""
    image = _blank(size, scale, color)
    draw = ImageDraw.Draw(image)
    panel = mix((240, 238, 232), color, rng.uniform(0, 0.4)) if rng.random() < 0.6 else wood(rng)
    top = image.height - rng.uniform(0.8, 1.1) * scale
    draw.rectangle((0, top, image.width, image.height), fill=panel)
    draw.rectangle((0, top, image.width, top + 0.05 * scale), fill=shade(panel, 1.1))
    thin = max(1, round(0.015 * scale))
    draw.line((0, top + 0.055 * scale, image.width, top + 0.055 * scale), fill=shade(panel, 0.7), width=thin)
    step, gap = rng.uniform(0.35, 0.7) * scale, 0.07 * scale
    for left in np.arange(0, image.width, step):
        inner = (left + gap, top + 2 * gap, left + step - gap, image.height - 2.5 * gap)
        draw.rectangle(inner, outline=shade(panel, 0.75), width=thin)
        draw.line((inner[0], inner[3], inner[2], inner[3]), fill=shade(panel, 1.15), width=thin)
    return image


def _bricks(rng: np.random.Generator, size: Size, scale: float) -> Image.Image:
    color = rgb(rng.uniform(0.0, 0.07), rng.uniform(0.1, 0.6), rng.uniform(0.5, 0.9))
    image = _blank(size, scale, mix(color, (205, 200, 192), 0.75))
    draw = ImageDraw.Draw(image)
    high, wide, joint = 0.085 * scale, 0.25 * scale, max(1.0, 0.015 * scale)
    rows, columns = int(image.height / high) + 1, int(image.width / wide) + 2
    tones = rng.uniform(0.82, 1.08, (40, 60))
    for row in range(rows):
        for column in range(columns):
            left, top = (column - 0.5 * (row % 2)) * wide, row * high
            fill = shade(color, float(tones[row % 40, column % 60]))
            draw.rectangle((left, top, left + wide - joint, top + high - joint), fill=fill)
    return image


def _planks(
    rng: np.random.Generator, size: Size, scale: float, color: Rgb, *, width: float, upright: bool = False
) -> Image.Image:
    """Boards side by side, level or upright, each of its own tone."""
    image = _blank(size, scale, shade(color, 0.6))
    draw = ImageDraw.Draw(image)
    extent = image.width if upright else image.height
    for start in np.arange(0, extent, width * scale):
        stop = start + width * scale - max(1.0, 0.006 * scale)
        fill = shade(color, rng.uniform(0.85, 1.12))
        if upright:
            draw.rectangle((start, 0, stop, image.height), fill=fill)
            continue
        left = -rng.uniform(0, 1.2) * scale
        while left < image.width:
            right = left + rng.uniform(0.8, 1.6) * scale
            draw.rectangle((left, start, right - 1, stop), fill=shade(color, rng.uniform(0.85, 1.12)))
            left = right
    return image


def _tiles(rng: np.random.Generator, size: Size, scale: float) -> Image.Image:
    first = rgb(rng.random(), rng.uniform(0, 0.2), rng.uniform(0.55, 0.9))
    second = shade(first, rng.choice([1.0, 0.95, 0.45]))
    image = _blank(size, scale, shade(first, 0.7))
    draw = ImageDraw.Draw(image)
    side, joint = rng.uniform(0.3, 0.55) * scale, max(1.0, 0.008 * scale)
    for row in range(int(image.height / side) + 1):
        for column in range(int(image.width / side) + 1):
            left, top = column * side, row * side
            fill = second if (row + column) % 2 else first
            draw.rectangle((left, top, left + side - joint, top + side - joint), fill=fill)
    return image
