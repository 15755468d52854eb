"""Leave one out: how much the cosine drops without the content of one cell.

One of the methods that remove a feature and look at the answer, of which occlusion is another: Covert,
Lundberg, Lee, *Explaining by Removing*, JMLR 2021.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Literal, final, get_args

import numpy as np
import torch
from torch import Tensor

from lookalike.errors import check_name
from lookalike.explainers.base import image_map
from lookalike.explainers.black_box import BlackBox, EmbedsPictures, RgbPixels, cosines_with
from lookalike.explainers.cells import cell_edges, feature_grid, grid_of_cells
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.ops.blurring import gaussian_blur
from lookalike.types import Explanation, ImageMap, Reading

Fill = Literal["blur", "mean"]

_LARGEST_GRID = 16  # cells along the longer side, where the model's own grid is taken
_CELLS = 10  # along the shorter side, for a model without a grid


@final
class LeaveOneOut:
    """Method ``leave-one-out``: a heat map of the drop in similarity without each cell.

    Unlike the windows of ``occlusion``, cells divide the network's own input, what preprocessing cut off
    is not asked for, they do not overlap, and a cell is not painted over with one color but blurred
    (``fill`` "mean" is that color), which adds fewer edges that no image has. ``cells`` along the shorter
    side are by default those of the model's feature grid, 16 along a side at most, and 10 for a model
    without one. ``model`` is as for ``occlusion``. Raises ValueError for counts below 1,
    UnknownNameError for another fill.
    """

    name = "leave-one-out"
    promise = "a heat map from answers without each cell; any model"

    def __init__(
        self, model: EmbedsPictures, *, cells: int | None = None, fill: Fill = "blur", batch_size: int = 32
    ) -> None:
        check_name("fill", fill, get_args(Fill))
        if batch_size < 1 or (cells is not None and cells < 1):
            raise ValueError(f"cells and batch_size must be 1 or more; got {cells} and {batch_size}")
        self.model, self.cells, self.batch_size = model, cells, batch_size
        self.fill: Fill = fill

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> Explanation:
        """Return the explanation of two images, from one forward pass per cell.

        Raises ValueError if the model does not return one embedding per image.
        """
        box = BlackBox(self.model)
        readings = [box.read(source) for source in (query, match)]
        units = torch.cat([box.embed_pixels([each.pixels], [each.picture.name]) for each in readings])
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
        grid = self._grid(reading)
        variants = _without_each(reading.pixels, self._filled(reading.pixels), grid)
        cosines = cosines_with(other, variants, box.embed_pixels, self.batch_size)
        return image_map(reading, similarity - cosines, grid)

    def _grid(self, reading: Reading) -> tuple[int, int]:
        size = reading.geometry.input_size
        if self.cells is not None:
            return grid_of_cells(size, self.cells)
        own = feature_grid(self.model, reading) if isinstance(self.model, Embedder) else None
        if own is None:
            return grid_of_cells(size, _CELLS)
        factor = min(1.0, _LARGEST_GRID / max(own))
        return max(1, round(own[0] * factor)), max(1, round(own[1] * factor))

    def _filled(self, pixels: RgbPixels) -> RgbPixels:
        """What stands in for a cell: the whole image blurred, or its mean color."""
        if self.fill == "mean":
            return np.broadcast_to(pixels.mean((0, 1)).round().astype(np.uint8), pixels.shape)
        blurred = gaussian_blur(torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float())
        return np.asarray(blurred[0].permute(1, 2, 0).round().byte().numpy())


def _without_each(pixels: RgbPixels, fill: RgbPixels, grid: tuple[int, int]) -> Iterator[RgbPixels]:
    """The image with each cell of the grid replaced by the fill, row-major."""
    rows, columns = (cell_edges(side, n) for side, n in zip(pixels.shape, grid, strict=False))
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            variant = np.array(pixels)
            variant[top:bottom, left:right] = fill[top:bottom, left:right]
            yield variant
