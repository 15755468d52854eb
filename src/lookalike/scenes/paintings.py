"""Generated paintings: a number names a picture, for ever and at every resolution.

They are the art on the walls of ``rooms`` and can serve as query images of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.scenes import drawings, fields, fractals, tilings

# A style draws (n, n, 3) uint8; what it takes from the generator must not depend on n.
_STYLES: tuple[Callable[[np.random.Generator, int], NDArray[np.uint8]], ...] = (
    fractals.julia,
    tilings.stained_glass,
    fields.landscape,
    drawings.flow_strokes,
    tilings.truchet,
    drawings.ring_grid,
    fields.marble,
    tilings.subdivision,
    drawings.spirograph,
    fields.interference,
    tilings.triangles,
    drawings.bouquet,
    fields.spots,
    tilings.quarter_circles,
    fractals.mandelbrot,
    fields.color_field,
    drawings.discs,
    tilings.hexagons,
    drawings.town,
    fields.quasicrystal,
    drawings.mandala,
    fields.stripes,
    fractals.newton,
)
_SALT = 20_771  # keeps the generators of paintings apart from those of rooms
_FORMATS = (1.0, 1.0, 1.33, 0.75, 1.5, 0.8)  # width / height


def paint(painting_id: int, size: int = 256) -> Image.Image:
    """The painting of that number: RGB, size x size pixels.

    Neighboring numbers have different styles; the same number gives the same picture at every
    size, up to resampling. Any number from 0 on is valid.
    """
    if painting_id < 0 or size < 1:
        raise ValueError(f"a painting needs a number >= 0 and a size >= 1, got {painting_id} and {size}")
    return Image.fromarray(_pixels(int(painting_id), int(size)))


def painting_format(painting_id: int) -> float:
    """Width / height at which the painting hangs in rooms: the center of the square canvas."""
    return _FORMATS[int(np.random.default_rng([_SALT, 1, painting_id]).integers(len(_FORMATS)))]


@lru_cache(maxsize=256)
def _pixels(painting_id: int, size: int) -> NDArray[np.uint8]:
    """Drawn at twice the size and averaged, so that edges are smooth: (size, size, 3)."""
    style = _STYLES[painting_id % len(_STYLES)]
    large = style(np.random.default_rng([_SALT, 0, painting_id]), 2 * size)
    pixels = np.asarray(Image.fromarray(np.ascontiguousarray(large)).reduce(2))
    pixels.flags.writeable = False
    return pixels
