"""Smooth random fields that look the same at every resolution."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lookalike.types import FloatArray


def upsample(lattice: FloatArray, size: tuple[int, int]) -> FloatArray:
    """Bicubic upsampling of an array (h, w) to ``size`` (H, W), float32."""
    image = Image.fromarray(np.ascontiguousarray(lattice, dtype=np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def smooth_noise(
    rng: np.random.Generator, size: tuple[int, int], *, cells: tuple[int, int], octaves: int = 1
) -> FloatArray:
    """Sum of octaves of value noise, (H, W) float32 scaled to [0, 1].

    ``cells`` (rows, columns) is the coarsest lattice. The random numbers do not depend on ``size``, so
    a generator gives the same field at every size.
    """
    total = np.zeros(size, dtype=np.float32)
    for octave in range(octaves):
        shape = (cells[0] * 2**octave + 1, cells[1] * 2**octave + 1)
        total += upsample(rng.random(shape, dtype=np.float32), size) * 0.5**octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def lookup(field: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """Nearest values of a square field at coordinates in [-1, 1], mirrored outside of them."""
    n = field.shape[0]
    columns = np.abs((x * 0.5 + 0.5) * n).astype(np.int32) % (2 * n)
    rows = np.abs((y * 0.5 + 0.5) * n).astype(np.int32) % (2 * n)
    found: FloatArray = field[np.minimum(rows, 2 * n - 1 - rows), np.minimum(columns, 2 * n - 1 - columns)]
    return found


def square_grid(n: int) -> tuple[FloatArray, FloatArray]:
    """Coordinates x (to the right) and y (downwards) of n x n pixel centers: each (n, n), in [-1, 1]."""
    axis = (np.arange(n, dtype=np.float32) + 0.5) * (2.0 / n) - 1.0
    x, y = np.meshgrid(axis, axis)
    return x, y
