"""Smooth random fields whose look does not depend on the resolution they are drawn at."""

from __future__ import annotations

import numpy as np
from PIL import Image

from lookalike.types import FloatArray


def upsample(lattice: FloatArray, size: tuple[int, int]) -> FloatArray:
    """A small (h, w) array as a smooth (H, W) field, bicubic; size is (H, W) pixels."""
    image = Image.fromarray(np.ascontiguousarray(lattice, dtype=np.float32))
    return np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC))


def smooth_noise(
    rng: np.random.Generator, size: tuple[int, int], *, cells: tuple[int, int], octaves: int = 1
) -> FloatArray:
    """Sum of random lattices, each twice as fine and half as strong: (H, W), stretched to [0, 1].

    ``cells`` is the coarsest lattice, (rows, columns). The random numbers drawn depend on it alone,
    so one generator state gives one field at every size.
    """
    total = np.zeros(size, dtype=np.float32)
    for octave in range(octaves):
        shape = (cells[0] * 2**octave + 1, cells[1] * 2**octave + 1)
        total += upsample(rng.random(shape, dtype=np.float32), size) * 0.5**octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / max(high - low, 1e-6)


def lookup(field: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """Values of a square field at coordinates in [-1, 1], mirrored beyond the edge; nearest pixel."""
    n = field.shape[0]
    columns = np.abs((x * 0.5 + 0.5) * n).astype(np.int32) % (2 * n)
    rows = np.abs((y * 0.5 + 0.5) * n).astype(np.int32) % (2 * n)
    found: FloatArray = field[np.minimum(rows, 2 * n - 1 - rows), np.minimum(columns, 2 * n - 1 - columns)]
    return found


def square_grid(n: int) -> tuple[FloatArray, FloatArray]:
    """Coordinates x (to the right) and y (downwards) of n x n pixel centers, in [-1, 1]: two (n, n)."""
    axis = (np.arange(n, dtype=np.float32) + 0.5) * (2.0 / n) - 1.0
    x, y = np.meshgrid(axis, axis)
    return x, y
