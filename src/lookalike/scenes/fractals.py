"""Painting styles that come from iterated maps: Julia sets, the Mandelbrot set, Newton's basins."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lookalike.scenes.noise import square_grid
from lookalike.scenes.palettes import color_ramp, random_palette, shuffled
from lookalike.types import FloatArray

ComplexArray = NDArray[np.complex64]

_JULIA_CONSTANTS = (
    -0.79 + 0.15j,
    -0.162 + 1.04j,
    0.3 - 0.01j,
    -1.476 + 0j,
    -0.12 - 0.77j,
    0.28 + 0.008j,
    -0.4 + 0.6j,
    -0.835 - 0.2321j,
    0.355 + 0.355j,
    -0.70176 - 0.3842j,
)
# Center and half width of parts of the Mandelbrot set worth framing.
_MANDELBROT_VIEWS = (
    (-0.6 + 0j, 1.35),
    (-0.7453 + 0.1127j, 0.006),
    (-1.256 + 0.38j, 0.05),
    (-0.1592 + 1.0338j, 0.03),
    (0.2855 + 0.0115j, 0.012),
    (-0.7485 + 0.0995j, 0.009),
    (-0.235 + 0.827j, 0.025),
)


def julia(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """A Julia set of z*z + c, turned and enlarged at random: (n, n, 3)."""
    constant = _JULIA_CONSTANTS[rng.integers(len(_JULIA_CONSTANTS))] + complex(*rng.normal(0, 0.012, 2))
    turn = np.exp(1j * rng.uniform(0, 2 * np.pi)) * rng.uniform(0.75, 1.35)
    x, y = square_grid(n)
    z = ((x + 1j * y) * turn).astype(np.complex64)
    return _colored(rng, _escape_time(z, np.full_like(z, constant), steps=44))


def mandelbrot(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """A part of the Mandelbrot set: (n, n, 3)."""
    center, half = _MANDELBROT_VIEWS[rng.integers(len(_MANDELBROT_VIEWS))]
    x, y = square_grid(n)
    turn = np.exp(1j * rng.uniform(0, 2 * np.pi))
    constants = (center + (x + 1j * y) * half * rng.uniform(0.8, 1.2) * turn).astype(np.complex64)
    return _colored(rng, _escape_time(np.zeros_like(constants), constants, steps=96))


def newton(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Basins of Newton's method for z**p - 1, shaded by how long it takes: (n, n, 3)."""
    power = int(rng.integers(3, 6))
    relax = rng.uniform(0.85, 1.35)
    x, y = square_grid(n)
    center = complex(*rng.uniform(-0.5, 0.5, 2))
    turn = np.exp(1j * rng.uniform(0, 2 * np.pi)) * rng.uniform(0.9, 2.4)
    z = ((x + 1j * y) * turn + center).astype(np.complex64)
    effort = np.zeros(z.shape, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):  # a point may be thrown beyond all numbers
        for _ in range(16):
            slope = z ** (power - 1)
            step = relax * (z * slope - 1) / (power * slope + 1e-6)
            z = z - step
            effort += np.abs(step) > 0.02
    z = np.nan_to_num(z)
    basin = np.round(np.angle(z) * power / (2 * np.pi)).astype(np.int32) % power
    colors = np.array(shuffled(rng, random_palette(rng))[:power] + random_palette(rng)[:1], dtype=np.float32)
    light = 1.1 - 0.85 * (effort / 16.0)
    return np.asarray(np.clip(colors[basin] * light[..., None], 0, 255), dtype=np.uint8)


def _escape_time(z: ComplexArray, constants: ComplexArray, *, steps: int) -> FloatArray:
    """Smooth count of steps until |z| exceeds 6; ``steps`` where it never does: (n, n)."""
    count = np.full(z.size, steps, dtype=np.float32)
    alive = np.arange(z.size)
    z, constants = z.ravel(), constants.ravel()
    for step in range(steps):
        z = z * z + constants
        squared = z.real**2 + z.imag**2
        out = squared > 36.0
        if out.any():
            count[alive[out]] = step + 1 - np.log2(np.log(squared[out]) / np.log(36.0))
            kept = ~out
            z, constants, alive = z[kept], constants[kept], alive[kept]
    side = round(count.size**0.5)
    return count.reshape(side, side)


def _colored(rng: np.random.Generator, count: FloatArray) -> NDArray[np.uint8]:
    """Escape counts as rank, folded a few times through a palette; what never escapes is flat."""
    colors = random_palette(rng)
    inside = count >= count.max()
    order = np.log1p(np.maximum(count, 0.0))
    low, high = np.quantile(order[~inside], (0.01, 0.99)) if not inside.all() else (0.0, 1.0)
    position = np.clip((order - low) / max(float(high - low), 1e-6), 0, 1)
    folds = rng.choice([1.0, 1.5, 2.5])
    wave = 1.0 - np.abs((position * folds + rng.random()) % 2.0 - 1.0)
    picture = color_ramp(colors if rng.random() < 0.5 else shuffled(rng, colors), wave.astype(np.float32))
    picture[inside] = colors[int(rng.choice([0, 0, 4, 1]))]
    return picture
