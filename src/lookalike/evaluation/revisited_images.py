"""Descriptors of the benchmark's images: queries cropped to their boxes, several scales pooled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from lookalike import images
from lookalike.datasets.revisited import QueryBox, RevisitedTruth, find_images
from lookalike.errors import DatasetError
from lookalike.evaluation.embedding_parts import RayEngine, parts_on_ray
from lookalike.evaluation.revisited_card import DescriptorProvenance
from lookalike.images import Preprocessing
from lookalike.models.embedder import Embedder
from lookalike.rerankers.cells import SharesOf
from lookalike.types import ProgressCallback, Shares, tracked

PUBLISHED_SCALES = (1.0, 2**-0.5, 0.5)
_BATCH = 8
_PART = 64  # images that a worker of a cluster has at once


def for_protocol(
    embedder: Embedder, *, scales: Sequence[float] | None = None, resolution: int | None = None
) -> Embedder:
    """Return the embedder at the protocol's scales and resolution.

    ``scales`` are factors on the input size, by default the three published ones, or 1 for networks of a
    fixed input size; a learned whitening determines them. With
    ``resolution`` images keep their proportions and are shrunk to a longer side of so many pixels; without
    it, the model's own preprocessing is used. Raises ValueError for options that do not fit the network.
    """
    is_convolutional = embedder.network.backbone.is_convolutional
    if not is_convolutional and (resolution or len(scales or ()) > 1):
        raise ValueError(
            f"{embedder.name} is a transformer for inputs of one size; leave out --resolution and --scales, "
            "and load it with the --input-size you want"
        )
    if embedder.whitening and scales is not None and tuple(scales) != embedder.scales:
        raise ValueError(
            f"{embedder.name} ends with a whitening {embedder.whitening}; leave out --scales, or take another"
        )
    usual = PUBLISHED_SCALES if is_convolutional else (1.0,)
    preprocessing = embedder.preprocessing
    if resolution is not None:
        preprocessing = replace(preprocessing, mode="fit", input_size=(resolution, resolution), crop_pct=1.0)
    return Embedder(
        embedder.network,
        preprocessing,
        name=embedder.name,
        scales=scales or (embedder.scales if embedder.whitening else usual),
        scale_power=embedder.scale_power,
        device=embedder.device,
        precision=embedder.precision,
        whitening=embedder.whitening,
    )


def describe_gallery(
    truth: RevisitedTruth,
    folder: Path,
    embedder: Embedder,
    *,
    ray: RayEngine | None = None,
    progress: ProgressCallback | None = None,
) -> Tensor:
    """Unit descriptors (G, D) float32 of the gallery images below ``folder``.

    ``ray`` is a cluster that embeds them. Raises DatasetError.
    """
    if not truth.images:
        raise DatasetError(
            f"the ground truth {truth.name} names no images, so they can't be found in {folder}"
        )
    paths = find_images(truth.images, folder)
    if ray is not None:
        parts = parts_on_ray(_described_in_worker, embedder, paths, _PART, ray, "gallery", progress)
        return torch.cat([descriptors for _, descriptors in parts])
    starts = range(0, len(paths), _BATCH)
    steps = tracked(starts, "gallery", len(starts), progress)
    return torch.cat([embedder.embed(paths[start : start + _BATCH], batch_size=_BATCH) for start in steps])


def _described_in_worker(embedder: Embedder, paths: Sequence[Path], is_suspect: bool) -> Tensor:
    return embedder.embed(paths, batch_size=_BATCH)


def describe_queries(
    truth: RevisitedTruth,
    folder: Path,
    embedder: Embedder,
    *,
    crop: bool = True,
    progress: ProgressCallback | None = None,
) -> Tensor:
    """Unit descriptors (Q, D) float32 of the queries, cropped if ``crop``. Raises DatasetError."""
    if not truth.queries:
        raise DatasetError(
            f"the ground truth {truth.name} names no queries, so they can't be found in {folder}"
        )
    paths = find_images(truth.queries, folder)
    steps = tracked(range(len(paths)), "queries", len(paths), progress)
    boxes = truth.boxes if crop else (None,) * len(truth)
    return torch.cat([embedder.embed([cropped(paths[i], boxes[i], embedder.preprocessing)]) for i in steps])


def shares_of_images(
    truth: RevisitedTruth, folder: Path, embedder: Embedder, *, crop: bool = True
) -> dict[str, SharesOf]:
    """Return ``query_shares`` and ``gallery_shares`` for a re-ranker, computed when asked for.

    Queries are cropped if ``crop``. Raises DatasetError as ``describe_gallery``.
    """
    queries, gallery = find_images(truth.queries, folder), find_images(truth.images, folder)
    boxes = truth.boxes if crop else (None,) * len(truth)

    @cache
    def of_query(index: int) -> Shares:
        return embedder.shares(cropped(queries[index], boxes[index], embedder.preprocessing))

    return {"query_shares": of_query, "gallery_shares": lambda row: embedder.shares(gallery[row])}


def cropped(path: Path, box: QueryBox | None, preprocessing: Preprocessing) -> Image.Image:
    """Crop the image to the box (left, top, right, bottom in pixels, rounded).

    If images are shrunk to a longest side, the crop is shrunk by the factor of the whole image, so that
    query and gallery show a building at the same scale, as in the published evaluation. Raises
    DatasetError for a box outside the image.
    """
    whole = images.load(path, levels=preprocessing.levels).image
    if box is None:
        return whole
    sides = tuple(round(side) for side in box)
    left, top, right, bottom = max(sides[0], 0), max(sides[1], 0), *sides[2:]
    right, bottom = min(right, whole.width), min(bottom, whole.height)
    if left >= right or top >= bottom:
        raise DatasetError(
            f"the box {sides} of query {path.name} lies outside its {whole.width} x {whole.height} pixels; "
            "is the file another size than the benchmark's?"
        )
    part = whole.crop((left, top, right, bottom))
    if preprocessing.mode == "fit":
        factor = min(
            1.0, preprocessing.input_size[1] / whole.width, preprocessing.input_size[0] / whole.height
        )
        size = (max(1, round(part.width * factor)), max(1, round(part.height * factor)))
        part = part.resize(size, Image.Resampling.LANCZOS)
    return part


def provenance_of(embedder: Embedder, *, crop: bool) -> DescriptorProvenance:
    """Describe how descriptors are made by this embedder, for the card."""
    preprocessing = embedder.preprocessing
    height, width = preprocessing.input_size
    how = {
        "fit": f"proportions kept, shrunk to {max(height, width)} pixels on the longer side",
        "squash": f"squashed to {height} x {width}",
        "crop": f"center crop of {height} x {width}",
        "letterbox": f"proportions kept inside {height} x {width}",
    }
    scales = ", ".join(f"{scale:.3g}" for scale in embedder.scales)
    power = f", generalized mean of power {embedder.scale_power:.3g}" if len(embedder.scales) > 1 else ""
    return DescriptorProvenance(
        model=f"{embedder.name}, fingerprint {embedder.fingerprint()[:16]}, {embedder.precision}",
        query_boxes="cropped" if crop else "ignored: whole query images",
        resolution=how[preprocessing.mode],
        scales=scales + power,
        whitening=embedder.whitening or "none beyond the model's own head",
    )
