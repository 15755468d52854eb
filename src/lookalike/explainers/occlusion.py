"""Occlusion: how much the cosine drops when a window of one image is covered.

Zeiler and Fergus, *Visualizing and Understanding Convolutional Networks*, ECCV 2014. Only the
model's embeddings are used, so it explains any model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Protocol, final

import numpy as np
import torch
from PIL import Image, ImageStat
from torch import Tensor
from torch.nn import functional as F

from lookalike import images
from lookalike.models.embedder import ImageSource
from lookalike.types import Explanation, FloatArray, Geometry, ImageMap, Picture, Reading

_LARGEST_SIDE = 640  # pixels; larger images are reduced before windows are covered


class EmbedsImages(Protocol):
    """A model that embeds RGB images."""

    name: str

    def embed(self, sources: Sequence[Image.Image]) -> Tensor:
        """Return embeddings (B, D) of B images; they need not have unit length."""
        ...


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
        self,
        model: EmbedsImages | Callable[[Sequence[Image.Image]], object],
        *,
        cells: int = 10,
        window: float = 2.0,
        batch_size: int = 32,
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
        pictures = [_whole_picture(source) for source in (query, match)]
        small = [_scaled_down(picture.image) for picture in pictures]
        query_unit, match_unit = self._embed(small)
        return Explanation(
            similarity=float(query_unit @ match_unit),
            query=ImageMap(
                pictures[0], _geometry(pictures[0], small[0]), self._drops(small[0], query_unit, match_unit)
            ),
            match=ImageMap(
                pictures[1], _geometry(pictures[1], small[1]), self._drops(small[1], match_unit, query_unit)
            ),
            method=self.name,
            additive=False,
            model=getattr(self.model, "name", getattr(self.model, "__name__", "model")),
        )

    def _embed(self, pictures: Sequence[Image.Image]) -> Tensor:
        embed = self.model if callable(self.model) else self.model.embed
        embeddings = torch.as_tensor(np.asarray(embed(list(pictures))), dtype=torch.float64)
        if embeddings.ndim != 2 or len(embeddings) != len(pictures):
            raise ValueError(
                f"the model should return ({len(pictures)}, D) embeddings for {len(pictures)} images; "
                f"it returned shape {tuple(embeddings.shape)}"
            )
        return F.normalize(embeddings, dim=1)

    def _drops(self, image: Image.Image, unit: Tensor, other: Tensor) -> FloatArray:
        """Drop in similarity when the window around each cell is covered: (h, w)."""
        grid = _grid(image, self.cells)
        windows = self._covered(image, grid)
        similarities = []
        while covered := list(islice(windows, self.batch_size)):
            similarities.append(self._embed(covered) @ other)
        drops = unit @ other - torch.cat(similarities)
        return np.asarray(drops.reshape(grid).numpy(), dtype=np.float32)

    def _covered(self, image: Image.Image, grid: tuple[int, int]) -> Iterator[Image.Image]:
        fill = tuple(round(mean) for mean in ImageStat.Stat(image).mean)
        cell_height, cell_width = image.height / grid[0], image.width / grid[1]
        for row in range(grid[0]):
            for column in range(grid[1]):
                center_y, center_x = (row + 0.5) * cell_height, (column + 0.5) * cell_width
                reach_y, reach_x = cell_height * self.window / 2, cell_width * self.window / 2
                box = (center_x - reach_x, center_y - reach_y, center_x + reach_x, center_y + reach_y)
                covered = image.copy()
                covered.paste(fill, tuple(round(edge) for edge in box))  # type: ignore[arg-type]
                yield covered


def _scaled_down(image: Image.Image) -> Image.Image:
    if max(image.size) <= _LARGEST_SIDE:
        return image
    small = image.copy()
    small.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.LANCZOS)
    return small


def _grid(image: Image.Image, cells: int) -> tuple[int, int]:
    """Grid (h, w) of nearly square cells, ``cells`` along the shorter side and up to 4 times as many."""
    short = min(image.size)
    h, w = (min(round(cells * side / short), 4 * cells) for side in (image.height, image.width))
    return min(h, image.height), min(w, image.width)


def _whole_picture(source: ImageSource | Reading) -> Picture:
    return source.picture if isinstance(source, Reading) else images.load(source)


def _geometry(picture: Picture, small: Image.Image) -> Geometry:
    """Geometry of a grid that spans the whole image."""
    height, width = picture.original_size
    return Geometry(picture.original_size, (small.height, small.width), (0.0, 0.0, height, width))
