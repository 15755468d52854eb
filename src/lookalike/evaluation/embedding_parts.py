"""Embedding a list of images part by part, in this process or by the workers of a Ray cluster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lookalike.distributed import RayCluster, ordered_map
from lookalike.errors import LookalikeError, StoreUnreachableError, UnreadableImageError
from lookalike.images import DecodedFile, Decoders
from lookalike.images.limits import Limits, default_limits, set_limits
from lookalike.models.avsl import AvslModel
from lookalike.models.embedder import Embedder, on_processor
from lookalike.models.finite import check_finite
from lookalike.models.onnx import OnnxEmbedder
from lookalike.ops.avsl import Nodes
from lookalike.types import Picture, ProgressCallback, tracked

_Result = TypeVar("_Result")
AnyEmbedder = Embedder | OnnxEmbedder
Steps = Callable[[range], Iterable[int]]
_BATCH = 32  # images per forward pass
_PART = 256  # images that a worker of a cluster has at once


@dataclass(frozen=True)
class RayEngine:
    """A cluster that embeds, and how many of its workers; see ``RayCluster``."""

    address: str | None = None  # None: a new one on this machine
    workers: int | None = None  # None: one for each core


@dataclass(frozen=True)
class EmbeddedPart:
    """What a model made of a part of a list."""

    vectors: Tensor  # (B, D) float32, of unit length; of an AVSL model those of its highest level
    nodes: Nodes | None  # of an AVSL model
    kept: tuple[int, ...]  # places in the part of the B images
    left_out: tuple[tuple[str, str], ...]  # path and reason


def embed_part(
    embedder: AnyEmbedder, paths: Sequence[Path], *, workers: int = 0, steps: Steps = iter
) -> EmbeddedPart:
    """Embed images; files that can't be read are left out.

    ``workers`` processes decode ahead. ``steps`` wraps the range of places that is gone through.
    """
    avsl = avsl_of(embedder)
    batches: list[Tensor] = []
    nodes: list[Nodes] = []
    kept: list[int] = []
    left_out: list[tuple[str, str]] = []

    def embed(pixels: list[np.ndarray[Any, Any]]) -> None:
        names = [str(paths[i]) for i in kept[-len(pixels) :]]
        if avsl is None:
            batches.append(embed_pixels(embedder, pixels, names))
            return
        nodes.append(avsl.pixel_nodes(pixels))
        check_finite(nodes[-1].embeddings[-1], embedder.name, names)
        batches.append(nodes[-1].embeddings[-1])  # the highest level is the model's embedding

    waiting: list[np.ndarray[Any, Any]] = []
    with Decoders(workers, embedder.preprocessing) as decoders:
        decoded = _decoded(paths, decoders)
        for i in steps(range(len(paths))):
            try:
                pixels = next(decoded).result().pixels
            except StoreUnreachableError:
                raise
            except UnreadableImageError as error:
                left_out.append((str(paths[i]), str(error)))
                continue
            assert pixels is not None
            kept.append(i)
            waiting.append(pixels)
            if len(waiting) == _BATCH:
                embed(waiting)
                waiting = []
    if waiting:
        embed(waiting)
    vectors = torch.cat(batches) if batches else torch.empty(0, 0)
    return EmbeddedPart(vectors, Nodes.joined(nodes) if nodes else None, tuple(kept), tuple(left_out))


def embed_list(
    embedder: AnyEmbedder,
    paths: Sequence[Path],
    *,
    workers: int = 0,
    ray: RayEngine | None = None,
    progress: ProgressCallback | None = None,
) -> EmbeddedPart:
    """Embed a list of images as ``embed_part`` does, in its order; on a cluster if ``ray`` says which."""
    text = f"embedding with {embedder.name}"
    if ray is None:
        return embed_part(
            embedder, paths, workers=workers, steps=lambda places: tracked(places, text, len(paths), progress)
        )
    parts = list(parts_on_ray(_embed_in_worker, embedder, paths, _PART, ray, text, progress))
    nodes = [part.nodes for _, part in parts if part.nodes is not None]
    vectors = [part.vectors for _, part in parts if part.kept]
    return EmbeddedPart(
        torch.cat(vectors) if vectors else torch.empty(0, 0),
        Nodes.joined(nodes) if nodes else None,
        tuple(start + place for start, part in parts for place in part.kept),
        tuple(each for _, part in parts for each in part.left_out),
    )


def parts_on_ray(
    function: Callable[[Embedder, Sequence[Any], bool], _Result],
    embedder: AnyEmbedder,
    items: Sequence[Any],
    n_items: int,
    engine: RayEngine,
    text: str,
    progress: ProgressCallback | None,
) -> Iterator[tuple[int, _Result]]:
    """Yield what a function of a module makes of each ``n_items`` of a list, and where these begin.

    It gets the embedder, items, and whether one of them may have killed a worker. Raises LookalikeError for
    an ONNX model, which does not travel, and GalleryError without Ray or a cluster that answers.
    """
    if not isinstance(embedder, Embedder):
        raise LookalikeError(
            f"{embedder.name} is a model in ONNX, which the engine ray does not take; leave it out"
        )
    job = _Job(function, on_processor(embedder), default_limits())
    starts = range(0, len(items), n_items)
    with RayCluster(engine.address, engine.workers) as cluster:
        results = ordered_map(cluster, items, job.start, n_items)
        yield from zip(tracked(starts, text, len(starts), progress), results, strict=True)


@dataclass(frozen=True)
class _Job:
    """What travels to every worker."""

    function: Callable[[Embedder, Sequence[Any], bool], Any]
    embedder: Embedder
    limits: Limits

    def start(self) -> Callable[[Sequence[Any], bool], Any]:
        set_limits(self.limits)
        return partial(self.function, self.embedder)


def _embed_in_worker(embedder: Embedder, paths: Sequence[Path], is_suspect: bool) -> EmbeddedPart:
    return embed_part(embedder, paths, workers=int(is_suspect))


def avsl_of(embedder: AnyEmbedder) -> AvslModel | None:
    """The graph of an AVSL model; None for any other."""
    has_graph = isinstance(embedder, Embedder) and embedder.network.graph is not None
    return AvslModel(embedder) if has_graph else None  # type: ignore[arg-type]


def embed_pixels(
    embedder: AnyEmbedder,
    pixels: Sequence[np.ndarray[Any, np.dtype[np.uint8]]],
    names: Sequence[str] | None = None,
) -> Tensor:
    """Unit embeddings (B, D) float32 of preprocessed pictures (H, W, 3) uint8; ``names`` are for messages."""
    if isinstance(embedder, Embedder):
        return embedder.embed_pixels(pixels, names=names)
    names = names or ["a picture"] * len(pixels)
    return embedder.embed(
        [
            Picture(Image.fromarray(array), (array.shape[0], array.shape[1]), name)
            for array, name in zip(pixels, names, strict=True)
        ]
    )


def _decoded(paths: Sequence[Path], decoders: Decoders) -> Iterator[Future[DecodedFile]]:
    """Decoded files in order, a bounded number of them ahead."""
    waiting: deque[Future[DecodedFile]] = deque()
    for path in paths:
        waiting.append(decoders.decode(str(path)))
        if len(waiting) > _BATCH * bool(decoders.workers):
            yield waiting.popleft()
    yield from waiting
