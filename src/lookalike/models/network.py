"""Backbone, pooling and head as one module that returns embeddings and their shares by cell."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lookalike.errors import LookalikeError, UnsupportedMethodError, first_line
from lookalike.images import Preprocessing
from lookalike.models.attention_poolings import AttentionPooling, ClsPooling
from lookalike.models.backbones import Backbone
from lookalike.models.borrowed import Borrowed
from lookalike.models.finite import check_finite
from lookalike.models.heads import keeps_width, output_width, propagate
from lookalike.models.poolings import FeaturePooling, build_pooling, describe_pooling
from lookalike.types import Features, Trace

_logger = logging.getLogger(__name__)

# Largest difference between the sum of the shares and the embedding, relative to its length.
COMPLETENESS = 1e-4

_BY_ATTENTION = (ClsPooling, AttentionPooling)  # poolings whose shares need more than the features


@dataclass(frozen=True)
class BatchShares:
    """Embeddings of a batch, before the last L2 normalization, as sums over cells."""

    values: Tensor  # (B, N + 1, D) float32; the last row is the residual
    grid: tuple[int, int]  # (h, w), h * w == N


class EmbeddingNetwork(nn.Module):
    """The network of an embedder: backbone, pooling, the backbone's own layers after it, a head.

    ``pooling`` is None where the backbone's own pooling is used but can't be split into shares.
    """

    def __init__(
        self,
        backbone: Backbone,
        pooling: FeaturePooling | None,
        head: nn.Sequential | None = None,
        *,
        own_layers: nn.Sequential | None = None,
        is_own: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pooling = pooling
        self.head = head or nn.Sequential()
        self._own_layers = Borrowed(own_layers or nn.Sequential())  # of the backbone
        self.is_own = is_own  # whether pooling and own_layers are the backbone's own end
        # After the merging of several scales; the embedder applies it.
        self.merged_head = nn.Sequential()
        # Of nodes below the embedding, see avsl_network; it takes no part in embedding.
        self.graph: nn.Module | None = None

    @property
    def own_layers(self) -> nn.Sequential:
        """The backbone's layers between its own pooling and its classifier; empty for others."""
        return self._own_layers.module

    def followed_by(self, *layers: nn.Module, merged: bool = False) -> EmbeddingNetwork:
        """A network with more layers at its end and without a graph; shares weights.

        The end is that of the head or, with ``merged``, of what follows the merging of scales.
        """
        network = EmbeddingNetwork(
            self.backbone,
            self.pooling,
            nn.Sequential(*self.head, *(() if merged else layers)),
            own_layers=self.own_layers,
            is_own=self.is_own,
        )
        network.merged_head = nn.Sequential(*self.merged_head, *(layers if merged else ()))
        return network

    def describe_pooling(self) -> dict[str, Any]:
        """The JSON description that ``assemble`` reads back."""
        return {"name": "own"} if self.is_own or self.pooling is None else describe_pooling(self.pooling)

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (B, D), before the last L2 normalization, of normalized images (B, 3, H, W)."""
        if self.pooling is None:
            vectors = self.backbone.own_embedding(images)
            with torch.autocast(images.device.type, enabled=False):
                return self._headed(_at_least_single(vectors))
        features = self.backbone(images)
        with torch.autocast(images.device.type, enabled=False):
            cells, prefix = _at_least_single(features.cells), _at_least_single(features.prefix)
            return self._headed(self.own_layers(self.pooling(Features(cells, prefix, features.grid))))

    def width(self) -> int | None:
        """D from the layers after the pooling; None where only a forward pass tells it."""
        for layer in reversed([*self.own_layers, *self.head, *self.merged_head]):
            if not keeps_width(layer):
                return output_width(layer)
        return None

    def _headed(self, vectors: Tensor) -> Tensor:
        """Vectors after the head, in fp32: a head may subtract nearly equal numbers."""
        result: Tensor = self.head(vectors)
        return result

    def shares(self, images: Tensor, *, model: str | None = None, image: str = "an image") -> BatchShares:
        """The same embeddings as sums over cells.

        Raises UnsupportedMethodError where the pooling can't be split over cells, and where the shares
        do not sum to the embedding because the architecture works in another way than assumed; and
        ModelOutputError, with the names of ``model`` and ``image``, for NaN and infinity.
        """
        self._understood_pooling()
        return self.shares_of(self._trace(images), model=model, image=image)

    def traced(self, images: Tensor) -> tuple[Tensor, Trace | None]:
        """Embeddings (B, D) as ``forward`` gives them, and the trace that ``shares_of`` takes.

        The trace is None where the pooling is not understood.
        """
        if self.pooling is None:
            return self(images), None
        trace = self._trace(images)
        return self._headed(self.own_layers(self.pooling(trace.features))), trace

    def shares_of(self, trace: Trace, *, model: str | None = None, image: str = "an image") -> BatchShares:
        """The shares of a forward pass traced by the backbone; raises as ``shares``."""
        pooling = self._understood_pooling()
        shares = propagate(self.head, propagate(self.own_layers, pooling.shares(trace)))
        expected = self.head(self.own_layers(pooling(trace.features)))
        check_finite(expected, model or self.backbone.architecture, [image] * len(expected))
        error = (shares.sum(1) - expected).norm(dim=1) / expected.norm(dim=1).clamp(min=1e-12)
        if not float(error.max()) <= COMPLETENESS:
            raise UnsupportedMethodError(
                f"the shares of {self.backbone.architecture} miss {float(error.max()):.1e} of its embedding "
                f"(at most {COMPLETENESS:.0e} is allowed); use method 'occlusion' or pooling 'mean'"
            )
        return BatchShares(shares, trace.features.grid)

    def _trace(self, images: Tensor) -> Trace:
        if isinstance(self.pooling, _BY_ATTENTION):
            return self.backbone.trace(images)
        # Recording attention adds 2 ms to the 15 ms of a convolutional network.
        return Trace(self.backbone(images), (), None)

    def _understood_pooling(self) -> FeaturePooling:
        if self.pooling is None:
            raise UnsupportedMethodError(
                f"how {self.backbone.architecture} pools its features is not understood, so it has no "
                "shares; use method 'occlusion', or load it with pooling 'mean'"
            )
        return self.pooling


def assemble(
    backbone: Backbone,
    pooling: Mapping[str, Any],
    head: nn.Sequential | None,
    preprocessing: Preprocessing,
    pooling_weights: Mapping[str, Tensor] | None = None,
) -> EmbeddingNetwork:
    """Build a network from a backbone and the description of a pooling.

    Names are those of ``build_pooling``, and two that belong to the backbone: ``own`` and ``cls``.
    """
    match pooling["name"]:
        case "own":
            return _with_own_pooling(backbone, head, preprocessing)
        case "cls":
            return EmbeddingNetwork(backbone, backbone.cls_pooling(), head)
        case _:
            return EmbeddingNetwork(backbone, build_pooling(pooling, pooling_weights), head)


@torch.inference_mode()
def _with_own_pooling(
    backbone: Backbone, head: nn.Sequential | None, preprocessing: Preprocessing
) -> EmbeddingNetwork:
    """A network with the backbone's own pooling, as shares where our version of it gives equal embeddings."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 3, *preprocessing.input_size, generator=generator)
    try:
        pooling, layers = backbone.own_pooling()
        own = backbone.own_embedding(image)
        ours = layers(pooling(backbone(image)))
        understood = own.shape == ours.shape and bool((own - ours).norm() <= COMPLETENESS * own.norm())
    except UnsupportedMethodError as error:
        _logger.info("%s", error)
        understood = False
    except (RuntimeError, AssertionError, ValueError) as error:
        height, width = preprocessing.input_size
        raise LookalikeError(
            f"{backbone.architecture} can't take input of {height}x{width}: {first_line(error)}; "
            "choose another input size"
        ) from error
    if not understood:
        return EmbeddingNetwork(backbone, None, head, is_own=True)
    return EmbeddingNetwork(backbone, pooling, head, own_layers=layers, is_own=True)


def _at_least_single(tensor: Tensor) -> Tensor:
    """The tensor in fp32 if it is in half precision, else unchanged."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
