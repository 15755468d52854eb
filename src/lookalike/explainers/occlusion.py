"""Occlusion: how much the cosine drops when a window of one image is covered.

Zeiler and Fergus, *Visualizing and Understanding Convolutional Networks*, ECCV 2014. Only the
model's embeddings are used, so it explains any model.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

import numpy as np
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
    ``cells`` is the number of windows along the shorter side; a window is ``window`` cells wide.
    Raises ValueError for options that are not positive.
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
        """Drop in similarity when the window around each cell is covered."""
        grid = grid_of_cells(reading.geometry.input_size, self.cells)
        covered = self._covered(reading.pixels, grid)
        cosines = cosines_with(other, covered, box.embed_pictures, self.batch_size)
        return image_map(reading, similarity - cosines, grid)

    def _covered(self, pixels: RgbPixels, grid: tuple[int, int]) -> Iterator[RgbPixels]:
        fill = pixels.mean((0, 1)).round()
        height, width = pixels.shape[0] / grid[0], pixels.shape[1] / grid[1]
        reach_y, reach_x = height * self.window / 2, width * self.window / 2
        for row in range(grid[0]):
            for column in range(grid[1]):
                center_y, center_x = (row + 0.5) * height, (column + 0.5) * width
                top, left = max(round(center_y - reach_y), 0), max(round(center_x - reach_x), 0)
                covered = np.array(pixels)
                covered[top : round(center_y + reach_y), left : round(center_x + reach_x)] = fill
                yield covered
