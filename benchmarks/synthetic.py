"""Galleries of random vectors for benchmarks of search. No picture is read or embedded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from lookalike import Gallery
from lookalike.gallery.opening import manifest_of
from lookalike.models.embedder import Embedder
from lookalike.store import Entry, MemoryStore, Record, VectorStore, record_id

BATCH = 100_000


def clustered_units(
    n: int, width: int, *, seed: int = 0, clusters: int = 1_000, spread: float = 0.7
) -> np.ndarray:
    """Unit vectors (n, width) around shared centers, as embeddings of pictures do; float32.

    The centers depend on the width only, so that queries of another seed lie among the vectors.
    """
    centers = np.random.default_rng(12345).standard_normal((clusters, width), dtype=np.float32)
    rng = np.random.default_rng(seed)
    units = np.empty((n, width), np.float32)
    for start in range(0, n, 100_000):
        rows = units[start : start + 100_000]
        rows[:] = centers[rng.integers(clusters, size=len(rows))]
        rows += spread * rng.standard_normal(rows.shape, dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return units


def entries(units: np.ndarray) -> Iterator[list[Entry]]:
    """Vectors as records of imaginary pictures, in batches."""
    for start in range(0, len(units), BATCH):
        yield entries_from(units[start : start + BATCH], start)


def entries_from(units: np.ndarray, start: int) -> list[Entry]:
    """Vectors as records of the imaginary pictures from this number on."""
    return [Entry(_record(start + i), unit) for i, unit in enumerate(units)]


def filled(store: VectorStore, units: np.ndarray) -> VectorStore:
    """The store, with all vectors added."""
    for batch in entries(units):
        store.add(batch)
    return store


def gallery_on(store: VectorStore, embedder: Embedder, **options: Any) -> Gallery:
    """A gallery on a store. With an embedder of another width, search it with vectors only."""
    manifest = replace(manifest_of(embedder, embedder, keep_shares=False), width=store.width)
    return Gallery(store, embedder, manifest, **options)


def gallery_in_memory(embedder: Embedder, rows: int) -> Gallery:
    """A gallery of random vectors that can be searched with images."""
    width = manifest_of(embedder, embedder, keep_shares=False).width
    return gallery_on(filled(MemoryStore(width), clustered_units(rows, width)), embedder)


def _record(i: int) -> Record:
    digest = hashlib.sha256(str(i).encode()).hexdigest()
    return Record(record_id(digest), f"/pictures/{i:09}.jpg", digest, 100_000 + i, 1_700_000_000 + i)
