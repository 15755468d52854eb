"""A gallery seen without something that recurs: its directions are removed from queries and images alike.

The embedder ends with the projection, so shares pass through it too: the maps of a hit sum to the similarity
that is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lookalike.errors import GalleryError
from lookalike.gallery.recurrences import Audit, Recurrence
from lookalike.models.embedder import Embedder
from lookalike.ops.aside import without_directions
from lookalike.store import Manifest, MemoryStore, Snapshot
from lookalike.store.records import Entry
from lookalike.types import FloatArray


def chosen_directions(
    chosen: Recurrence | str | Sequence[Recurrence | str], folder: Path | None, manifest: Manifest
) -> FloatArray:
    """Return the directions (k, D) of recurrences, given as such or by their ids in the last audit.

    Raises GalleryError for an unknown id, a gallery that was not audited, or an audit by another model.
    """
    several = [chosen] if isinstance(chosen, str | Recurrence) else list(chosen)
    if not several:
        raise ValueError("name what to set aside: the id of something that an audit found")
    known: dict[str, Recurrence] = {}
    if any(isinstance(each, str) for each in several):
        if folder is None:
            raise GalleryError(
                "this gallery is not in a folder, so its audit was not saved; give what it found"
            )
        audit = Audit.load(folder)
        if audit.fingerprint != manifest.fingerprint:
            raise GalleryError("the last audit was made with another model; audit again")
        known = {each.id: each for each in audit}
    found = []
    for each in several:
        if isinstance(each, str) and each not in known:
            ids = ", ".join(known) or "nothing"
            raise GalleryError(f"the last audit found no {each!r}; it found {ids}")
        found.append(known[each].directions if isinstance(each, str) else each.directions)
    directions = np.concatenate(found)
    if directions.shape[1] != manifest.width:
        raise GalleryError(
            f"what is set aside has width {directions.shape[1]}, the gallery {manifest.width}; "
            "audit this gallery"
        )
    if not len(directions):
        raise GalleryError("it adds nothing to the embeddings, so there is nothing to set aside")
    return directions


def seen_without(
    snapshot: Snapshot, embedder: Embedder, manifest: Manifest, directions: FloatArray
) -> tuple[MemoryStore, Embedder, Manifest]:
    """Return a store in memory, an embedder and a manifest without the directions (k, D)."""
    axes = torch.from_numpy(directions)
    projected = embedder.without_directions(axes)
    units = without_directions(torch.from_numpy(snapshot.embeddings), axes).numpy()
    store = MemoryStore(manifest.width)
    store.add([Entry(record, unit) for record, unit in zip(snapshot.records, units, strict=True)])
    own = replace(
        manifest,
        model_name=projected.name,
        fingerprint=projected.fingerprint(),
        keep_shares=False,
        calibration=None,  # it was fitted to the other cosines
    )
    return store, projected, own
