"""Light, shadow and the camera's grain."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from lookalike.scenes.camera import Camera, Patch
from lookalike.scenes.noise import upsample
from lookalike.scenes.solids import Point
from lookalike.types import FloatArray


def cast_shadow(
    image: Image.Image,
    patches: tuple[Patch, ...],
    *,
    offset: tuple[float, float],
    softness: float,
    strength: float,
) -> Image.Image:
    """The image darkened where the patches, moved by offset, keep the light away.

    ``offset`` and ``softness`` are shares of the longer side; ``strength`` is in [0, 1].
    """
    longest = max(image.size)
    scale = 160 / longest
    small = Image.new("L", (max(1, round(image.width * scale)), max(1, round(image.height * scale))), 255)
    draw = ImageDraw.Draw(small)
    shift = np.array(offset) * longest
    for patch in patches:
        draw.polygon(
            Patch(patch.points + shift, patch.color).outline(scale), fill=round(255 * (1 - strength))
        )
    soft = small.filter(ImageFilter.GaussianBlur(softness * 160)).resize(
        image.size, Image.Resampling.BILINEAR
    )
    return ImageChops.multiply(image, Image.merge("RGB", (soft, soft, soft)))


def light_map(
    rng: np.random.Generator, camera: Camera, lamps: tuple[Point, ...], size: tuple[int, int]
) -> FloatArray:
    """Factor by which each pixel and channel is brightened: (H, W, 3), around 1.

    Daylight from one side, darker corners, a tint, and a warm glow around each lamp.
    """
    grid = 40
    x, y = np.meshgrid(np.linspace(0, 1, grid), np.linspace(0, 1, grid))
    aspect = size[1] / size[0]
    angle = rng.uniform(0, 2 * np.pi)
    day = 1 + rng.uniform(0.0, 0.3) * ((x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle))
    corner = (x - 0.5) ** 2 * min(aspect, 1.5) + (y - 0.5) ** 2
    day *= 1 - rng.uniform(0.1, 0.7) * corner
    warmth = rng.uniform(-0.08, 0.12)
    tint = np.array([1 + warmth, 1 + rng.normal(0, 0.015), 1 - warmth])
    evening = rng.random() < 0.3
    total = (day * (rng.uniform(0.55, 0.75) if evening else rng.uniform(0.85, 1.12)))[..., None] * tint
    for lamp in lamps:
        if camera.depth(lamp) < 0.5:
            continue
        px, py = camera.project([lamp])[0] / (camera.size[1], camera.size[0])
        squared = ((x - px) * aspect) ** 2 + (y - py) ** 2
        glow = np.exp(-squared / 0.015) * 0.35 + np.exp(-squared / 0.12) * 0.3
        total += (glow * (1.4 if evening else 0.6))[..., None] * np.array([1.0, 0.82, 0.55])
    return np.stack([upsample(total[..., c].astype(np.float32), size) for c in range(3)], axis=-1)


def develop(rng: np.random.Generator, pixels: NDArray[np.uint8], light: FloatArray) -> NDArray[np.uint8]:
    """The picture (H, W, 3) under the light, with contrast and a little grain."""
    contrast, grain = rng.uniform(0.88, 1.12), rng.uniform(0.5, 3.5)
    lit = (pixels * light - 128.0) * contrast + 128.0
    noise = rng.standard_normal(pixels.shape[:2], dtype=np.float32) * grain
    return np.clip(lit + noise[..., None], 0, 255).astype(np.uint8)
