"""Positions of pictures in the plane, by PCA or UMAP, to which later pictures are added without a jump."""

from __future__ import annotations

import importlib
import importlib.util
import json
import warnings
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray

from lookalike.errors import GalleryError, replacing
from lookalike.ops.neighbors import nearest
from lookalike.types import FloatArray

LayoutName = Literal["pca", "umap"]
MAP_LAYOUTS: tuple[LayoutName, ...] = ("pca", "umap")
_REDUCED = 50  # principal components that UMAP gets: its neighbors hardly change, and it is much faster
_NEAREST = 15  # of UMAP, its own default
_PLACED_BY = 5  # placed neighbors that say where a later picture stands


@final
@dataclass(frozen=True)
class StoredLayout:
    """Where the pictures of a gallery stand, by id, with the cluster of each."""

    name: LayoutName
    seed: int
    wanted: int | None  # clusters asked for; None: as many as were found
    model: str  # fingerprint of the model
    contents: str  # fingerprint of the ids that were placed
    n_later: int  # pictures placed since the layout was made
    ids: NDArray[np.str_]  # (G,)
    points: FloatArray  # (G, 2) float32
    clusters: NDArray[np.int32]  # (G,); -1: in none
    mean: FloatArray  # (D,) float32; subtracted before projecting
    axes: FloatArray  # (2, D) float32; of PCA

    def subset(self, rows: NDArray[np.int64]) -> StoredLayout:
        """Return the layout of some of its rows."""
        return replace(self, ids=self.ids[rows], points=self.points[rows], clusters=self.clusters[rows])


def principal(vectors: FloatArray, k: int) -> tuple[FloatArray, FloatArray]:
    """Return the mean (D,) and the k first principal axes (k, D) of vectors (G, D), float32.

    The sign of an axis is such that its largest entry is positive, so that a layout is the same on every
    machine. Axes that the vectors do not have are zero.
    """
    mean = vectors.mean(0, dtype=np.float64)
    centered = torch.from_numpy(vectors - mean.astype(np.float32))
    covariance = (centered.T @ centered).double() / max(len(vectors), 1)
    values, columns = torch.linalg.eigh(covariance)  # ascending
    axes = columns.flip(1).T[:k].numpy()
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])[:, None]
    axes = axes * (values.flip(0)[:k].numpy() > 1e-12)[:, None]
    if len(axes) < k:
        axes = np.concatenate([axes, np.zeros((k - len(axes), axes.shape[1]))])
    return np.asarray(mean, dtype=np.float32), np.asarray(axes, dtype=np.float32)


def has_umap() -> bool:
    """Whether the extra ``map`` is installed."""
    return importlib.util.find_spec("umap") is not None


def plane_of(vectors: FloatArray, name: LayoutName, seed: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return points (G, 2), the mean (D,) and the axes (2, D) of PCA, all float32.

    Raises GalleryError for ``umap`` without the extra ``map``.
    """
    mean, axes = principal(vectors, 2)
    flat = np.asarray((vectors - mean) @ axes.T, dtype=np.float32)
    if name == "pca" or len(vectors) <= _NEAREST:  # too few for a neighborhood
        return flat, mean, axes
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # it says that TensorFlow is not installed
            umap = importlib.import_module("umap")
    except ImportError as error:
        raise GalleryError("this layout needs UMAP: pip install 'lookalike[map]', or use pca") from error
    many = principal(vectors, min(_REDUCED, vectors.shape[1]))[1]
    reduced = (vectors - mean) @ many.T
    start = (
        10 * flat / max(float(np.abs(flat).max()), 1e-12)
    )  # not "spectral": slow, and warns where it fails
    noise = np.random.default_rng(seed).normal(scale=1e-4, size=start.shape)
    made: Any = umap.UMAP(
        n_neighbors=_NEAREST, init=(start + noise).astype(np.float32), random_state=seed, n_jobs=1
    )  # fmt: skip
    return np.asarray(made.fit_transform(reduced), dtype=np.float32), mean, axes


def placed(layout: StoredLayout, kept: FloatArray, later: FloatArray) -> tuple[FloatArray, NDArray[np.int32]]:
    """Return the points (L, 2) and clusters (L,) of later vectors (L, D) in a layout of kept ones (G, D).

    By PCA they are projected; by UMAP they stand at the mean of their nearest placed neighbors, weighted by
    the cosine. The cluster is that of the nearest.
    """
    cosines, rows = nearest(torch.from_numpy(later), torch.from_numpy(kept), _PLACED_BY)
    clusters = layout.clusters[rows[:, 0].numpy()]
    if layout.name == "pca":
        return np.asarray((later - layout.mean) @ layout.axes.T, dtype=np.float32), clusters
    weights = cosines.clamp(min=1e-3) ** 8  # the nearer, the more by far
    weights = weights / weights.sum(1, keepdim=True)
    around = torch.from_numpy(layout.points)[rows]  # (L, K, 2)
    return (weights[..., None] * around).sum(1).numpy(), clusters


def save_layout(file: Path, layout: StoredLayout) -> None:
    """Write a layout; a process that is killed leaves the one before. Raises GalleryError."""
    facts = {
        "name": layout.name, "seed": layout.seed, "wanted": layout.wanted, "model": layout.model,
        "contents": layout.contents, "n_later": layout.n_later,
    }  # fmt: skip
    with replacing(file, GalleryError) as beside, beside.open("wb") as stream:
        np.savez(
            stream, facts=np.array(json.dumps(facts)), ids=layout.ids, points=layout.points,
            clusters=layout.clusters, mean=layout.mean, axes=layout.axes,
        )  # fmt: skip


def load_layout(file: Path) -> StoredLayout | None:
    """Return the layout of a file; None where there is none, or a damaged one, which is made again."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            facts = json.loads(str(found["facts"]))
            names = ("ids", "points", "clusters", "mean", "axes")
            layout = StoredLayout(**facts, **{name: found[name] for name in names})
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
    n = len(layout.ids)
    is_whole = layout.points.shape == (n, 2) and layout.clusters.shape == (n,) and layout.axes.shape[0] == 2
    return layout if is_whole and np.isfinite(layout.points).all() else None
