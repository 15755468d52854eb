"""Any model as a function from pixels to unit embeddings, for methods that only ask it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Protocol, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lookalike import images
from lookalike.explainers.base import read_whole
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.models.finite import check_finite
from lookalike.models.onnx import OnnxEmbedder
from lookalike.types import Geometry, Picture, Reading

_LARGEST_SIDE = 640  # pixels; larger images are reduced before parts of them are covered

RgbPixels: TypeAlias = NDArray[np.uint8]  # (H, W, 3)


class EmbedsImages(Protocol):
    """A model that embeds RGB images."""

    name: str

    def embed(self, sources: Sequence[Image.Image]) -> Tensor:
        """Return embeddings (B, D) of B images; they need not have unit length."""
        ...


EmbedsPictures: TypeAlias = EmbedsImages | Callable[[Sequence[Image.Image]], object]


@final
class BlackBox:
    """A model of which only the answers are used.

    ``model`` is an embedder, or a function from a list of RGB images to an array (B, D) of floats.
    """

    def __init__(self, model: EmbedsPictures) -> None:
        self.model = model
        self.name = str(getattr(model, "name", getattr(model, "__name__", "model")))

    def read(self, source: ImageSource | Reading) -> Reading:
        """An image as the network itself will see it, to be changed and embedded by ``embed_pixels``.

        A model that does not tell its preprocessing gets the whole picture, as ``read_picture``.
        """
        if isinstance(self.model, Embedder):
            return read_whole(source, self.model)
        if isinstance(self.model, OnnxEmbedder):
            return images.read(self._picture(source), self.model.preprocessing)
        return self.read_picture(source)

    def read_picture(self, source: ImageSource | Reading) -> Reading:
        """The whole picture with at most 640 pixels along its longer side, for ``embed_pictures``."""
        picture = self._picture(source)
        pixels = np.asarray(_scaled_down(picture.image))
        height, width = picture.original_size
        geometry = Geometry(picture.original_size, pixels.shape[:2], (0.0, 0.0, height, width))
        return Reading(picture, pixels, geometry)

    def _picture(self, source: ImageSource | Reading) -> Picture:
        if isinstance(source, Reading):
            return source.picture
        preprocessing = getattr(self.model, "preprocessing", None)
        return images.load(source, levels=getattr(preprocessing, "levels", None))

    def embed_pixels(self, pixels: Sequence[RgbPixels], names: Sequence[str] | None = None) -> Tensor:
        """Unit embeddings (B, D) float64 of pixels such as ``read`` returned; ``names`` are for messages."""
        if isinstance(self.model, Embedder):
            return F.normalize(self.model.embed_pixels(pixels, names=names).double(), dim=1)
        return self.embed_pictures(pixels, names)

    def embed_pictures(self, pictures: Sequence[RgbPixels], names: Sequence[str] | None = None) -> Tensor:
        """Unit embeddings (B, D) float64 of pictures that the model prepares itself.

        Raises ValueError if the model does not return one embedding per image, and ModelOutputError,
        with one of ``names``, for NaN and infinity.
        """
        names = names or ["a partly covered picture"] * len(pictures)
        embed = self.model if callable(self.model) else self.model.embed
        named = [
            Picture(Image.fromarray(picture), (picture.shape[0], picture.shape[1]), name)
            for picture, name in zip(pictures, names, strict=True)
        ]
        is_ours = isinstance(self.model, Embedder | OnnxEmbedder)
        given: Any = named if is_ours else [picture.image for picture in named]
        answer: Any = embed(given)
        embeddings = torch.as_tensor(np.asarray(answer), dtype=torch.float64)
        if embeddings.ndim != 2 or len(embeddings) != len(pictures):
            raise ValueError(
                f"the model should return ({len(pictures)}, D) embeddings for {len(pictures)} images; "
                f"it returned shape {tuple(embeddings.shape)}"
            )
        check_finite(embeddings, self.name, names)
        return F.normalize(embeddings, dim=1)


def cosines_with(
    other: Tensor,
    variants: Iterable[RgbPixels],
    embed: Callable[[Sequence[RgbPixels]], Tensor],
    batch_size: int,
) -> Tensor:
    """Cosine of each variant of an image with a unit embedding (D,): (n,) float64."""
    remaining, found = iter(variants), []
    while batch := list(islice(remaining, batch_size)):
        found.append(embed(batch) @ other)
    return torch.cat(found)


def _scaled_down(image: Image.Image) -> Image.Image:
    if max(image.size) <= _LARGEST_SIDE:
        return image
    small = image.copy()
    small.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE), Image.Resampling.LANCZOS)
    return small
