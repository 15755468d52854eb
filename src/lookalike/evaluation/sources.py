"""Labeled embeddings from images and a model, from a gallery, and from arrays in files."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lookalike.datasets import LabeledImages, read_dataset
from lookalike.datasets.arrays import read_labels, read_vectors
from lookalike.errors import DatasetError, GalleryError, UnreadableImageError
from lookalike.evaluation.labeled import LabeledEmbeddings, labeled
from lookalike.explainers import load_any
from lookalike.images import DecodedFile, Decoders
from lookalike.models.embedder import Embedder
from lookalike.models.onnx import OnnxEmbedder
from lookalike.store import LanceStore, read_manifest
from lookalike.store.manifest import has_manifest

AnyEmbedder = Embedder | OnnxEmbedder
Progress = Callable[[Iterable[int], str, int], Iterator[int]]
_BATCH = 32  # pictures that the model sees at once


def load_for_evaluation(model: str | Path, **changes: Any) -> AnyEmbedder:
    """An embedder by name, or an ONNX model."""
    if str(model).endswith(".onnx"):
        return load_any(model, **changes)
    return Embedder.load(model, **changes)


def without_bar(items: Iterable[int], what: str, count: int) -> Iterator[int]:
    """Progress that nobody sees."""
    yield from items


@dataclass(frozen=True)
class Data:
    """Where labeled images are, or a gallery of them."""

    uri: Path
    split: str | None = None  # of images in several splits
    layout: str = "auto"  # of images, see datasets.LAYOUTS
    field: str = "label"  # of a gallery: the metadata that is the label

    def __str__(self) -> str:
        return f"{self.uri}/{self.split}" if self.split else str(self.uri)


def open_data(
    data: Data,
    model: str | Path | AnyEmbedder | None = None,
    *,
    limit: int | None = None,
    workers: int = 0,
    progress: Progress = without_bar,
) -> LabeledEmbeddings:
    """Labeled images embedded with a model (``mini`` unless named), or what a gallery holds.

    ``limit`` keeps so many images, taken evenly over the list. Raises DatasetError for a gallery
    with a model: its own made its embeddings.
    """
    if has_manifest(data.uri):
        if model is not None or data.split is not None:
            raise DatasetError(
                f"{data.uri} is a gallery, with the embeddings of its own model and without splits; "
                "leave model and split out, or name the folder of images"
            )
        return embeddings_of_gallery(data.uri, field=data.field)
    whole = read_dataset(data.uri, data.split, data.layout)
    images = evenly(whole, limit)
    source = str(data) if images is whole else f"{data}, {len(images):,} of {len(whole):,} images"
    embedder = load_for_evaluation(model or "mini") if isinstance(model, str | Path | None) else model
    return embed_images(embedder, images, source=source, workers=workers, progress=progress)


def evenly(images: LabeledImages, limit: int | None) -> LabeledImages:
    """At most ``limit`` of the images, at equal steps over the list."""
    if limit is None or limit >= len(images):
        return images
    rows = [i * len(images) // limit for i in range(limit)]
    return LabeledImages(tuple(images.paths[i] for i in rows), tuple(images.labels[i] for i in rows))


def embed_images(
    embedder: AnyEmbedder,
    images: LabeledImages,
    *,
    source: str,
    workers: int = 0,
    progress: Progress = without_bar,
) -> LabeledEmbeddings:
    """Embeddings of labeled images; files that can't be read are left out and told in ``left_out``.

    ``workers`` processes decode ahead; without any it happens here. Raises DatasetError where no
    image can be read.
    """
    batches: list[Tensor] = []
    waiting: list[np.ndarray[Any, Any]] = []
    kept: list[int] = []
    left_out: list[tuple[str, str]] = []
    with Decoders(workers, embedder.preprocessing) as decoders:
        decoded = _decoded(images, decoders)
        for i in progress(range(len(images)), f"embedding with {embedder.name}", len(images)):
            try:
                pixels = next(decoded).result().pixels
            except UnreadableImageError as error:
                left_out.append((str(images.paths[i]), str(error)))
                continue
            assert pixels is not None
            kept.append(i)
            waiting.append(pixels)
            if len(waiting) == _BATCH:
                batches.append(embed_pixels(embedder, waiting))
                waiting = []
    if waiting:
        batches.append(embed_pixels(embedder, waiting))
    if not batches:
        raise DatasetError(
            f"none of the {len(images):,} images of {source} can be read, e.g. {left_out[0][1]}"
        )
    found = labeled(
        torch.cat(batches),
        [images.labels[i] for i in kept],
        source=source,
        paths=[images.paths[i] for i in kept],
        model=embedder.name,
        left_out=left_out,
    )
    return replace(found, has_graph=isinstance(embedder, Embedder) and embedder.network.graph is not None)


def embed_pixels(embedder: AnyEmbedder, pixels: Sequence[np.ndarray[Any, np.dtype[np.uint8]]]) -> Tensor:
    """Unit embeddings (B, D) of pictures (H, W, 3) as the embedder's preprocessing leaves them."""
    if isinstance(embedder, Embedder):
        return embedder.embed_pixels(pixels)
    return embedder.embed([Image.fromarray(array) for array in pixels])


def embeddings_of_gallery(uri: str | Path, *, field: str = "label") -> LabeledEmbeddings:
    """The embeddings that a gallery holds; labels are a metadata field. The model is not loaded.

    Pictures without the field are left out. Raises GalleryError where there is no gallery, it is
    empty, or no picture has the field.
    """
    manifest = read_manifest(uri)
    snapshot = LanceStore(uri, manifest.width).snapshot()
    labels = [record.metadata.get(field) for record in snapshot.records]
    known = [i for i, label in enumerate(labels) if label is not None and label != ""]
    if not known:
        fields = sorted({name for record in snapshot.records for name in record.metadata})
        raise GalleryError(
            f"none of the {len(labels):,} pictures of {uri} has the field {field!r} "
            f"(they have {', '.join(fields) or 'no fields'}); name another, or index with "
            "--labels-from-folders"
        )
    missing = [record.path for i, record in enumerate(snapshot.records) if labels[i] in (None, "")]
    return labeled(
        torch.from_numpy(snapshot.embeddings[known]),
        [str(labels[i]) for i in known],
        source=str(uri),
        paths=[Path(snapshot.records[i].path) for i in known],
        model=manifest.model_name,
        left_out=[(path, f"it has no {field!r}") for path in missing],
    )


def embeddings_of_files(embeddings: Path, labels: Path | None = None) -> LabeledEmbeddings:
    """Embeddings and labels from .npy, .npz, .safetensors or .pt files; labels also from .txt.

    Without a file of labels they are in the same one. Raises LookalikeError for files, DatasetError
    for what is in them.
    """
    return labeled(read_vectors(embeddings), read_labels(labels or embeddings), source=str(embeddings))


def _decoded(images: LabeledImages, decoders: Decoders) -> Iterator[Future[DecodedFile]]:
    """Files in order, a bounded number of them decoded ahead."""
    waiting: deque[Future[DecodedFile]] = deque()
    for path in images.paths:
        waiting.append(decoders.decode(str(path)))
        if len(waiting) > _BATCH * bool(decoders.workers):
            yield waiting.popleft()
    yield from waiting
