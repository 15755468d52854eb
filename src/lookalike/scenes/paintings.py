"""Generated paintings, identified by a number.

They hang in the rooms of ``rooms`` and can be used as query images.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.scenes import drawings, fields, fractals, tilings

# Each draws (n, n, 3) uint8; the random numbers that it draws must not depend on n.
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
_SALT = 20_771  # separates the seeds of paintings from those of rooms
_FORMATS = (1.0, 1.0, 1.33, 0.75, 1.5, 0.8)  # width / height


def paint(painting_id: int, size: int = 256) -> Image.Image:
    """Draw the painting of a number, from 0: RGB, size x size pixels.

    Consecutive numbers have different styles. A number gives the same painting at every size, up to
    resampling. Raises ValueError for a negative number and for a size below 1.
    """
    if painting_id < 0 or size < 1:
        raise ValueError(f"painting_id must be at least 0 and size at least 1, got {painting_id} and {size}")
    return Image.fromarray(_pixels(int(painting_id), int(size)))


def painting_format(painting_id: int) -> float:
    """Aspect ratio (width / height) of a painting in rooms, which show the center of the square canvas."""
    return _FORMATS[int(np.random.default_rng([_SALT, 1, painting_id]).integers(len(_FORMATS)))]


@lru_cache(maxsize=256)
def _pixels(painting_id: int, size: int) -> NDArray[np.uint8]:
    """Pixels (size, size, 3), drawn at twice the size and averaged against aliasing."""
    style = _STYLES[painting_id % len(_STYLES)]
    large = style(np.random.default_rng([_SALT, 0, painting_id]), 2 * size)
    pixels = np.asarray(Image.fromarray(np.ascontiguousarray(large)).reduce(2))
    pixels.flags.writeable = False
    return pixels
