"""``evaluate``: from labeled images, a gallery or arrays to metrics in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lookalike.datasets import LabeledImages, PictureRows, read_dataset, splits_of
from lookalike.datasets.leaks import copies_remark, leak_remark
from lookalike.datasets.splits import split_name
from lookalike.datasets.texts import label_text
from lookalike.distributed import ENGINES
from lookalike.errors import DatasetError, check_name
from lookalike.evaluation.clustering import can_cluster, cluster_agreement
from lookalike.evaluation.embedding_parts import AnyEmbedder, RayEngine
from lookalike.evaluation.labeled import LabeledEmbeddings, labeled
from lookalike.evaluation.retrieval import retrieve
from lookalike.evaluation.sources import (
    DataSource,
    embed_images,
    evenly,
    load_for_evaluation,
    open_data,
)
from lookalike.evaluation.summary import Evaluation, summarize
from lookalike.models.embedder import Precision
from lookalike.store.manifest import has_manifest
from lookalike.types import ProgressCallback

_Array = Tensor | np.ndarray[Any, Any]
LabeledArrays = tuple[_Array, Sequence[Any] | _Array]  # embeddings (G, D) and a label for each row


def evaluate(
    data: str | Path | PictureRows | LabeledArrays | LabeledEmbeddings,
    model: str | Path | AnyEmbedder | None = None,
    *,
    queries: LabeledArrays | LabeledEmbeddings | None = None,
    split: str | None = None,
    query_split: str | None = None,
    layout: str = "auto",
    field: str = "label",
    ks: Sequence[int] = (1, 2, 4, 8),
    clustering: bool = True,
    seed: int = 0,
    limit: int | None = None,
    workers: int = 0,
    engine: str = "local",
    address: str | None = None,
    precision: Precision | None = None,
    progress: ProgressCallback | None = None,
) -> Evaluation:
    """Measure how well an embedding retrieves images of the same label.

    ``data`` is a folder or table of labeled images, ``PictureRows``, the path of a gallery, or
    a pair of arrays: embeddings (G, D) of any float type and length, and G labels. Images are embedded
    with ``model`` (``"mini"`` if None); galleries and arrays come with theirs and take no model. Images
    of an AVSL model are compared by its inferred distance, every query with every image; galleries hold the
    embedding of its highest level only, and are judged by the cosine.

    Each image is a query among all others; with ``queries`` (arrays) or ``query_split`` (of the same
    dataset) those query the gallery ``data`` instead. ``ks`` are those of Recall@K. ``clustering`` adds NMI,
    AMI and F1 if scikit-learn is installed. ``limit`` keeps so many images, evenly spread; ``field`` is the
    metadata of a gallery that holds the label; ``workers`` processes decode images. With the
    ``engine`` ray, so many workers (0: one for each core) embed them on the cluster at ``address``, as for
    ``Gallery.add``. ``precision``, for a
    model by name, is fp32 (if None), bf16, or auto: bf16 where the device has it.

    Raises DatasetError for data that cannot be judged, GalleryError, UnknownModelError, and ValueError
    for a k below 1 and for options that do not go with ``data``.

    >>> import numpy as np
    >>> evaluation = evaluate((np.eye(4)[[0, 0, 1, 1]], ["cat", "cat", "dog", "dog"]), clustering=False)
    >>> evaluation.metric("recall_at_1").value
    1.0
    """
    if query_split is not None and queries is not None:
        raise ValueError("queries come from query_split or from arrays, got both; leave one out")
    asked = None if queries is None else _embeddings(queries)
    if precision is not None and not (isinstance(data, str | Path) and isinstance(model, str | Path | None)):
        raise ValueError(
            f"precision={precision!r} is for a model by name; arrays are embedded already, and a loaded "
            "model has the precision it was loaded with"
        )
    check_name("engine", engine, ENGINES)
    how = {"workers": workers} if engine == "local" else {"ray": RayEngine(address, workers or None)}
    sources: list[DataSource] = []
    if isinstance(data, str | Path):
        splits = [split] if query_split is None else [split, query_split]
        sources = [DataSource(Path(data), name, layout, field) for name in splits]
        gallery, *others = _opened(sources, model, precision, limit=limit, progress=progress, **how)
        asked = others[0] if others else asked
    elif isinstance(data, PictureRows) and split is None and query_split is None:
        embedder = load_for_evaluation(model or "mini") if isinstance(model, str | Path | None) else model
        images = evenly(data.labeled_images(), limit)
        gallery = embed_images(embedder, images, source="rows", progress=progress, **how)
    elif model is None and split is None and query_split is None and not isinstance(data, PictureRows):
        gallery = _embeddings(data)
    else:
        raise ValueError(
            "arrays have no model and no splits, rows no splits; leave model, split and query_split out"
        )
    sides = (gallery, None) if asked is None else (asked, gallery)
    retrieved = retrieve(*sides, ks=ks, progress=progress)
    clusters = cluster_agreement(gallery, seed=seed) if clustering and can_cluster() else None
    remarks = _copies(sources, gallery, asked) if sources else ()
    return summarize(retrieved, clusters=clusters, seed=seed, remarks=remarks)


def _opened(
    sources: Sequence[DataSource],
    model: str | Path | AnyEmbedder | None,
    precision: Precision | None,
    **options: Any,
) -> list[LabeledEmbeddings]:
    """The embeddings of each source, by one model that is loaded once."""
    is_gallery = has_manifest(sources[0].uri)
    if is_gallery and precision is not None:
        raise ValueError(f"{sources[0].uri} is a gallery, embedded when it was made; leave precision out")
    if not is_gallery and isinstance(model, str | Path | None):
        changes = {} if precision is None else {"precision": precision}
        model = load_for_evaluation(model or "mini", **changes)
    return [open_data(source, model, **options) for source in sources]


def _copies(
    sources: Sequence[DataSource], gallery: LabeledEmbeddings, asked: LabeledEmbeddings | None
) -> list[str]:
    """Say which images are exact copies: of others, of the queries', and of the split train's."""
    source = sources[0]
    if has_manifest(source.uri) or gallery.paths is None:
        return []  # a gallery holds each content once
    remarks = [copies_remark(LabeledImages(gallery.paths, gallery.labels))]
    measured = list(gallery.paths)
    if asked is not None and asked.paths is not None:
        measured += asked.paths
        remarks.append(
            leak_remark(gallery.paths, asked.paths, of_learned="the gallery", of_measured="the queries")
        )
    used = {split_name(each.split) for each in sources if each.split}
    if used and "train" not in used and "train" in splits_of(source.uri, source.layout):
        learned = read_dataset(source.uri, "train", source.layout).paths
        remarks.append(leak_remark(learned, measured, of_learned="the split train", of_measured=str(source)))
    return [remark for remark in remarks if remark]


def _embeddings(data: LabeledArrays | LabeledEmbeddings) -> LabeledEmbeddings:
    if isinstance(data, LabeledEmbeddings):
        return data
    values, labels = data
    texts = [label_text(label) for label in labels]
    if "" in texts:
        raise DatasetError(f"row {texts.index('')} of the arrays has no label; leave it out or complete it")
    return labeled(torch.as_tensor(values), texts, source="arrays")
