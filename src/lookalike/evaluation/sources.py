"""Labeled embeddings from images and a model, from a gallery, or from arrays in files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lookalike.datasets import LabeledImages, read_dataset
from lookalike.datasets.arrays import read_labels, read_vectors
from lookalike.datasets.descriptors import Descriptors, ViewChoice, all_views
from lookalike.datasets.texts import label_text
from lookalike.errors import DatasetError, GalleryError
from lookalike.evaluation.embedding_parts import AnyEmbedder, RayEngine, avsl_of, embed_list
from lookalike.evaluation.labeled import LabeledEmbeddings, labeled
from lookalike.explainers import load_any
from lookalike.explainers.opening import is_onnx
from lookalike.models.embedder import Embedder
from lookalike.models.saving import saves_graph
from lookalike.store import LanceStore, read_manifest
from lookalike.store.manifest import has_manifest
from lookalike.types import ProgressCallback


def load_for_evaluation(model: str | Path, **changes: Any) -> AnyEmbedder:
    """Load an embedder by name, or an ONNX model."""
    if is_onnx(model) or changes.get("output") is not None:
        return load_any(model, **changes)
    changes.pop("output", None)
    return Embedder.load(model, **changes)


@dataclass(frozen=True)
class DataSource:
    """Labeled images on disk, or a gallery of them."""

    uri: Path
    split: str | None = None  # for images in several splits
    layout: str = "auto"  # for images, one of datasets.LAYOUTS
    field: str = "label"  # for a gallery: the metadata that holds the label

    def __str__(self) -> str:
        return f"{self.uri}/{self.split}" if self.split else str(self.uri)


def open_data(
    data: DataSource,
    model: str | Path | AnyEmbedder | None = None,
    *,
    limit: int | None = None,
    workers: int = 0,
    ray: RayEngine | None = None,
    progress: ProgressCallback | None = None,
) -> LabeledEmbeddings:
    """Embed labeled images with a model (``mini`` if None), or read the embeddings of a gallery.

    ``limit`` keeps so many images, evenly spread over the list; ``ray`` is a cluster that embeds. Raises
    DatasetError if a model or a split is given for a gallery, which holds the embeddings of its own model.
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
    return embed_images(embedder, images, source=source, workers=workers, ray=ray, progress=progress)


def evenly(images: LabeledImages, limit: int | None) -> LabeledImages:
    """Return at most ``limit`` of the images, at equal steps over the list."""
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
    ray: RayEngine | None = None,
    progress: ProgressCallback | None = None,
) -> LabeledEmbeddings:
    """Embed labeled images; files that can't be read are left out and listed in ``left_out``.

    With an AVSL model they are compared by its inferred distance. ``workers`` processes decode ahead;
    0 decodes in this process. ``ray`` is a cluster that embeds instead. Raises DatasetError if no image
    can be read.
    """
    part = embed_list(embedder, images.paths, workers=workers, ray=ray, progress=progress)
    if not part.kept:
        raise DatasetError(
            f"none of the {len(images):,} images of {source} can be read, e.g. {part.left_out[0][1]}"
        )
    found = labeled(
        part.vectors,
        [images.labels[i] for i in part.kept],
        source=source,
        paths=[images.paths[i] for i in part.kept],
        model=embedder.name,
        left_out=part.left_out,
        precision=embedder.precision if isinstance(embedder, Embedder) else "",
    )
    if part.nodes is None or (avsl := avsl_of(embedder)) is None:
        return found
    return replace(found, nodes=avsl.compared(part.nodes))


def embeddings_of_gallery(uri: str | Path, *, field: str = "label") -> LabeledEmbeddings:
    """Read the embeddings of a gallery, labeled by a metadata field; the model is not loaded.

    Images without the field, and those whose files have different values, are left out. Raises
    GalleryError if there is no gallery, if it is empty, or if no image has the field.
    """
    manifest = read_manifest(uri)
    snapshot = LanceStore(uri, manifest.width).snapshot()
    values = [record.values_of(field) for record in snapshot.records]
    known = [i for i, found in enumerate(values) if len(found) == 1]
    if not any(values):
        fields = sorted({n for record in snapshot.records for file in record.files for n in file.metadata})
        raise GalleryError(
            f"none of the {len(values):,} pictures of {uri} has the field {field!r} "
            f"(they have {', '.join(fields) or 'no fields'}); name another, or index with "
            "--labels-from-folders"
        )
    left_out = [
        (record.path, f"its files have different values of {field!r}: {', '.join(map(str, own))}")
        if own
        else (record.path, f"it has no {field!r}")
        for record, own in zip(snapshot.records, values, strict=True)
        if len(own) != 1
    ]
    found = labeled(
        torch.from_numpy(snapshot.embeddings[known]),
        [label_text(values[i][0]) for i in known],
        source=str(uri),
        paths=[Path(snapshot.records[i].path) for i in known],
        model=manifest.model_name,
        left_out=left_out,
        precision=manifest.precision,
    )
    return replace(found, lacks_nodes=saves_graph(manifest.model))


def descriptors_of_gallery(uri: str | Path, *, field: str, choose: ViewChoice = all_views) -> Descriptors:
    """Read the embeddings of a gallery as one view, for training; raises as ``embeddings_of_gallery``."""
    found = embeddings_of_gallery(uri, field=field)
    names = choose([found.model or "embeddings"], str(uri))
    codes = {label: code for code, label in enumerate(sorted(set(found.labels)))}
    classes = torch.tensor([codes[label] for label in found.labels])
    return Descriptors(str(uri), classes, dict.fromkeys(names, found.values))


def embeddings_of_files(embeddings: Path, labels: Path | None = None) -> LabeledEmbeddings:
    """Read embeddings and labels from .npy, .npz, .safetensors or .pt files; labels also from .txt.

    Without a file of labels, they are read from the file of embeddings. Raises LookalikeError for
    files that can't be read, DatasetError for unsuitable contents.
    """
    return labeled(read_vectors(embeddings), read_labels(labels or embeddings), source=str(embeddings))
