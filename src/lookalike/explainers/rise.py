"""RISE: how the cosine follows random masks on one image.

Petsiuk, Das, Saenko, *RISE: Randomized Input Sampling for Explanation of Black-box Models*, BMVC 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lookalike.explainers.base import image_map
from lookalike.explainers.black_box import BlackBox, EmbedsPictures, RgbPixels, cosines_with
from lookalike.explainers.cells import feature_grid, grid_of_cells
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.types import Explanation, ImageMap, Reading


@final
class Rise:
    """Method ``rise``: a heat map of how much each cell's visibility raises the similarity.

    Each of ``masks`` random masks keeps a cell of a coarse grid, ``cells`` along the shorter side, with
    probability ``keep``; it is enlarged smoothly, shifted at random and fades the network's input to
    its mean color. The paper averages the masks weighted by the score, so its maps grow with the score
    and with how often a cell was kept. Here the value of a cell is the slope of the cosine over the
    cell's visibility: both have their mean over the masks subtracted, and the sum of their products is
    divided by that of the squared visibility. Maps lie on the model's feature grid, or on 14 cells along
    the shorter side. ``model`` is as for ``occlusion``; equal seeds give equal maps. Raises ValueError
    for fewer than 2 masks, no cells, and a ``keep`` outside (0, 1).
    """

    name = "rise"
    promise = "a heat map from answers to random masks; any model"

    def __init__(
        self,
        model: EmbedsPictures,
        *,
        masks: int = 256,
        cells: int = 7,
        keep: float = 0.5,
        seed: int = 0,
        batch_size: int = 32,
    ) -> None:
        if masks < 2 or cells < 1 or batch_size < 1 or not 0 < keep < 1:
            raise ValueError(
                "rise takes 2 or more masks, positive cells and batch_size, and keep between 0 and 1; "
                f"got {masks}, {cells}, {batch_size} and {keep}"
            )
        self.model, self.batch_size = model, batch_size
        self.masks, self.cells, self.keep, self.seed = masks, cells, keep, seed

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> Explanation:
        """Return the explanation of two images, from ``masks`` forward passes each.

        Raises ValueError if the model does not return one embedding per image.
        """
        box = BlackBox(self.model)
        readings = [box.read(source) for source in (query, match)]
        units = torch.cat([box.embed_pixels([each.pixels], [each.picture.name]) for each in readings])
        return Explanation(
            similarity=float(units[0] @ units[1]),
            query=self._slopes(box, readings[0], units[1]),
            match=self._slopes(box, readings[1], units[0]),
            method=self.name,
            additive=False,
            model=box.name,
        )

    def _slopes(self, box: BlackBox, reading: Reading, other: Tensor) -> ImageMap:
        size = reading.geometry.input_size
        own = feature_grid(self.model, reading) if isinstance(self.model, Embedder) else None
        grid = own or grid_of_cells(size)
        visible: list[Tensor] = []  # of each mask, the mean over each cell (1, h, w)

        def noting(masks: Iterator[Tensor]) -> Iterator[Tensor]:
            for mask in masks:
                visible.append(F.adaptive_avg_pool2d(mask[None], grid))
                yield mask

        masked = (_faded(reading.pixels, mask) for mask in noting(self._random_masks(size)))
        cosines = cosines_with(other, masked, box.embed_pixels, self.batch_size)
        return image_map(reading, _slopes_over(torch.cat(visible).flatten(1).double(), cosines), grid)

    def _random_masks(self, size: tuple[int, int]) -> Iterator[Tensor]:
        """Masks (H, W) float32 in [0, 1]; the same for equal seeds and sizes."""
        generator = torch.Generator().manual_seed(self.seed)
        coarse = grid_of_cells(size, self.cells)
        step = [ceil(side / n) for side, n in zip(size, coarse, strict=True)]  # pixels of a coarse cell
        for _ in range(self.masks):
            kept = (torch.rand(1, 1, coarse[0] + 1, coarse[1] + 1, generator=generator) < self.keep).float()
            large = tuple(pixels * (n + 1) for pixels, n in zip(step, coarse, strict=True))
            smooth = F.interpolate(kept, size=large, mode="bilinear", align_corners=False)[0, 0]
            top, left = (int(torch.randint(pixels, (), generator=generator)) for pixels in step)
            yield smooth[top : top + size[0], left : left + size[1]]


def _faded(pixels: RgbPixels, mask: Tensor) -> RgbPixels:
    """The image where the mask is 1, and its mean color where it is 0."""
    weights = mask.numpy()[:, :, None]
    mean = pixels.mean((0, 1), dtype=np.float32)
    return np.asarray((weights * pixels + (1 - weights) * mean).round(), dtype=np.uint8)


def _slopes_over(visible: Tensor, cosines: Tensor) -> Tensor:
    """Least-squares slope of the cosine (n,) over each cell's visibility (n, N): (N,)."""
    centered = visible - visible.mean(0)
    slopes: Tensor = (cosines - cosines.mean()) @ centered / centered.square().sum(0).clamp(min=1e-12)
    return slopes
