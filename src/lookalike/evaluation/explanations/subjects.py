"""A model under test, and images exactly as it sees them."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lookalike import images
from lookalike.datasets.pairs import KnownImage
from lookalike.errors import DatasetError, UnreadableImageError, UnsupportedMethodError
from lookalike.evaluation.explanations.hiding import Pixels, evaluation_grid
from lookalike.evaluation.sources import load_for_evaluation
from lookalike.explainers import EmbedsImages
from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder
from lookalike.models.layers import layers_of
from lookalike.models.network import EmbeddingNetwork
from lookalike.types import Geometry, Picture, Reading

_BATCH = 32  # images per forward pass
_BLACK_BOX = Preprocessing("squash", (224, 224), interpolation="bilinear")  # of models that don't say


@dataclass(frozen=True, eq=False)
class SeenImage:
    """An image as a network sees it: its prepared pixels, and where they lie on the original."""

    known: KnownImage
    reading: Reading  # its picture is the pixels themselves, so that maps cover what was seen
    geometry: Geometry  # of the pixels on the original

    @property
    def pixels(self) -> Pixels:
        """What the network sees: (H, W, 3) uint8."""
        return self.reading.pixels


@final
class Subject:
    """A model whose explanations are judged.

    ``model`` is a name as in ``Embedder.load``, an ONNX file, or an object with ``name`` and ``embed``.
    Attribute ``model`` takes pictures that were prepared before and leaves them as they are.
    """

    def __init__(self, model: str | Path | Embedder | EmbedsImages) -> None:
        loaded = load_for_evaluation(model) if isinstance(model, str | Path) else model
        self.name = loaded.name
        self._preprocessing = _preparation(loaded)
        self._loaded = loaded
        self.model: Embedder | EmbedsImages = _of_prepared(loaded) if isinstance(loaded, Embedder) else loaded
        self._seen: dict[Path, tuple[Reading, Geometry]] = {}
        self._grids: dict[tuple[int, int], tuple[int, int]] = {}
        self._randomized: dict[bool, Subject] = {}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the weights; of a black box, of its answer to a generated picture, rounded."""
        if isinstance(self._loaded, Embedder):
            return self._loaded.fingerprint()
        noise = np.random.default_rng(0).integers(0, 256, (*self._preprocessing.input_size, 3), np.uint8)
        answer = self.units([noise]).numpy().round(3) + 0.0
        return hashlib.sha256(self.name.encode() + answer.astype(np.float32).tobytes()).hexdigest()

    def seen(self, image: KnownImage) -> SeenImage:
        """An image prepared for the network; kept, for it is needed again for other pairs.

        Raises DatasetError for a file that can't be read.
        """
        if image.path not in self._seen:
            try:
                reading = images.read(image.path, self._preprocessing)
            except UnreadableImageError as error:
                raise DatasetError(f"{error}; repair the file, or take its pairs out") from error
            name = f"{image.label}/{image.path.name}" if image.label else image.path.name
            self._seen[image.path] = as_reading(reading.pixels, name), reading.geometry
        return SeenImage(image, *self._seen[image.path])

    def units(self, pixels: Sequence[Pixels]) -> Tensor:
        """Unit embeddings of prepared pixels: (B, D) float64."""
        batches = [self._embedded(pixels[i : i + _BATCH]) for i in range(0, len(pixels), _BATCH)]
        return F.normalize(torch.cat(batches).double(), dim=1)

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """The grid on which maps of an input of this size (H, W) are compared."""
        if size not in self._grids:
            self._grids[size] = evaluation_grid(size, self._own_grid(size))
        return self._grids[size]

    def randomized(self, *, whole: bool, seed: int) -> Subject:
        """This model with the weights of the last half of its layers, or of all, each shuffled in place.

        From the top down, as the cascade of Adebayo et al., *Sanity checks for saliency maps*, NeurIPS
        2018. Raises UnsupportedMethodError for a model whose layers are not known.
        """
        if whole not in self._randomized:
            if not isinstance(self.model, Embedder):
                raise UnsupportedMethodError(
                    f"{self.name} only returns embeddings; its weights can't be shuffled"
                )
            network = copy.deepcopy(self.model.network)
            shuffled = _embedder_like(self.model, network, self.model.preprocessing)
            layers = layers_of(shuffled.network.backbone)
            generator = torch.Generator().manual_seed(seed)
            for layer in layers if whole else layers[len(layers) // 2 :]:
                for weights in layer.parameters():
                    order = torch.randperm(weights.numel(), generator=generator).to(weights.device)
                    weights.data.copy_(weights.data.flatten()[order].view_as(weights))
            self._randomized[whole] = Subject(shuffled)
        return self._randomized[whole]

    def _embedded(self, pixels: Sequence[Pixels]) -> Tensor:
        if isinstance(self.model, Embedder):
            return self.model.embed_pixels(pixels)
        found = self.model.embed([Image.fromarray(array) for array in pixels])
        return torch.as_tensor(np.asarray(found))

    def _own_grid(self, size: tuple[int, int]) -> tuple[int, int] | None:
        """Of the last layer; None for a black box."""
        if not isinstance(self.model, Embedder):
            return None
        blank, _ = self.model.tensor(as_reading(np.zeros((*size, 3), np.uint8), ""))
        try:
            with torch.inference_mode():
                grid: tuple[int, int] = self.model.network.backbone(blank).grid
        except UnsupportedMethodError:
            return None
        return grid


def as_reading(pixels: Pixels, name: str) -> Reading:
    """Prepared pixels as an image of their own."""
    height, width = pixels.shape[:2]
    picture = Picture(Image.fromarray(pixels), (height, width), name)
    whole = Geometry((height, width), (height, width), (0.0, 0.0, float(height), float(width)))
    return Reading(picture, pixels, whole)


def _preparation(model: Embedder | EmbedsImages) -> Preprocessing:
    """How images are prepared for a model; a black box that would crop once more sees whole images."""
    found = getattr(model, "preprocessing", None) or _BLACK_BOX
    if isinstance(model, Embedder) or found.crop_pct == 1:
        preparation: Preprocessing = found
        return preparation
    return replace(_BLACK_BOX, input_size=found.input_size)


def _of_prepared(embedder: Embedder) -> Embedder:
    """The same network for images that were resized and cropped before."""
    settings = embedder.preprocessing
    if settings.mode != "fit":  # which leaves its own results unchanged
        settings = replace(settings, mode="squash", crop_pct=1.0)
    return _embedder_like(embedder, embedder.network, settings)


def _embedder_like(embedder: Embedder, network: EmbeddingNetwork, settings: Preprocessing) -> Embedder:
    return Embedder(
        network,
        settings,
        name=embedder.name,
        scales=embedder.scales,
        scale_power=embedder.scale_power,
        device=embedder.device,
        precision=embedder.precision,
        has_published_maps=embedder.has_published_maps,
        whitening=embedder.whitening,
    )
