"""Occlusion: how much the cosine drops when a window of one image is covered.

Zeiler and Fergus, *Visualizing and Understanding Convolutional Networks*, ECCV 2014; where windows overlap, a
pixel has the mean of those that cover it, as in the similarity scoring of XAITK (Hu et al., *XAITK: The
explainable AI toolkit*, Applied AI Letters 2021). Only the model's embeddings are used, so it explains any
model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np
import torch
from torch import Tensor

from lookalike.explainers.base import image_map
from lookalike.explainers.black_box import BlackBox, EmbedsPictures, RgbPixels, cosines_with
from lookalike.explainers.cells import grid_of_cells
from lookalike.models.embedder import ImageSource
from lookalike.types import Explanation, ImageMap, Reading


@final
class Occlusion:
    """Method ``occlusion``: a heat map of the drop in similarity, on a grid over the whole image.

    ``model`` is an embedder, or a function from a list of RGB images to an array (B, D) of floats.
    ``cells`` is the number of windows along the shorter side; a window is ``window`` cells wide and centered
    on its cell. The value of a pixel is the mean drop, with its sign, of the windows that cover it; that of a
    cell is the mean over its covered pixels. Raises ValueError for options that are not positive.
    """

    name = "occlusion"
    promise = "a heat map from answers alone; any model"

    def __init__(
        self, model: EmbedsPictures, *, cells: int = 10, window: float = 2.0, batch_size: int = 32
    ) -> None:
        if cells < 1 or window <= 0 or batch_size < 1:
            raise ValueError(
                f"cells, window and batch_size must be positive; got {cells}, {window} and {batch_size}"
            )
        self.model = model
        self.cells, self.window, self.batch_size = cells, window, batch_size

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> Explanation:
        """Return the explanation of two images, from about ``2 * cells ** 2`` forward passes.

        Raises ValueError if the model does not return one embedding per image.
        """
        box = BlackBox(self.model)
        readings = [box.read_picture(source) for source in (query, match)]
        names = [reading.picture.name for reading in readings]
        units = box.embed_pictures([reading.pixels for reading in readings], names)
        similarity = float(units[0] @ units[1])
        return Explanation(
            similarity=similarity,
            query=self._drops(box, readings[0], units[1], similarity),
            match=self._drops(box, readings[1], units[0], similarity),
            method=self.name,
            additive=False,
            model=box.name,
        )

    def _drops(self, box: BlackBox, reading: Reading, other: Tensor, similarity: float) -> ImageMap:
        """Drop in similarity at each cell, from one answer for each window."""
        grid = grid_of_cells(reading.geometry.input_size, self.cells)
        rows, columns = (
            _windows(length, n, self.window) for length, n in zip(reading.pixels.shape[:2], grid, strict=True)
        )
        covered = _covered(reading.pixels, rows, columns)
        cosines = cosines_with(other, covered, box.embed_pictures, self.batch_size)
        drops = (similarity - cosines).reshape(grid)
        return image_map(reading, _means_over_windows(drops, rows, columns).flatten(), grid)


def _windows(length: int, n: int, width: float) -> Tensor:
    """Pixels of a side that each of n windows covers, ``width`` cells wide: (n, length) float64, 0 or 1."""
    cell, pixels = length / n, torch.arange(length)
    return torch.stack(
        [
            (pixels >= round((i + 0.5 - width / 2) * cell)) & (pixels < round((i + 0.5 + width / 2) * cell))
            for i in range(n)
        ]
    ).double()


def _covered(pixels: RgbPixels, rows: Tensor, columns: Tensor) -> Iterator[RgbPixels]:
    """The image with each window, row by row, in the image's mean color."""
    fill = pixels.mean((0, 1)).round()
    for of_rows in rows.bool().numpy():
        for of_columns in columns.bool().numpy():
            covered = np.array(pixels)
            covered[np.ix_(of_rows, of_columns)] = fill
            yield covered


def _means_over_windows(drops: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Mean over the covered pixels of each cell of the mean drop of the windows that cover a pixel: (h, w).

    ``drops`` (h, w) are those of the windows (h, H) and (w, W). A cell that no window reaches is zero.
    """
    counts = torch.outer(rows.sum(0), columns.sum(0))  # (H, W)
    of_pixels = rows.T @ drops @ columns / counts.clamp(min=1)
    of_rows, of_columns = (_windows(side.shape[1], side.shape[0], 1.0) for side in (rows, columns))
    n_covered = of_rows @ (counts > 0).double() @ of_columns.T
    means: Tensor = of_rows @ of_pixels @ of_columns.T / n_covered.clamp(min=1)
    return means
