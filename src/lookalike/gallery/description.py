"""What a gallery is, for people and for JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookalike.store import Manifest, VectorStore
from lookalike.store.hnsw import accelerated_version


@dataclass(frozen=True)
class GalleryDescription:
    """What a gallery is."""

    uri: str
    n_images: int  # contents
    n_files: int  # files, copies included
    model: str
    fingerprint: str
    width: int  # D
    precision: str  # that the model runs in
    preprocessing: dict[str, Any]
    version: str  # of lookalike, when the gallery was made
    created: str  # date and time, UTC
    keep_shares: bool
    table_version: int
    accelerator: str  # "none", "fresh" or "stale"
    calibration: dict[str, Any] | None
    metadata_fields: dict[str, int]  # field -> pictures that have it


def describe(
    store: VectorStore, manifest: Manifest, uri: str | None, folder: Path | None
) -> GalleryDescription:
    """The description of the gallery at a URI; ``folder`` where that is a local one."""
    n_images, n_files, fields = 0, 0, dict[str, int]()
    for record in store.records():
        n_images += 1
        n_files += len(record.files)
        for name in record.metadata:
            fields[name] = fields.get(name, 0) + 1
    version = store.version
    built = accelerated_version(folder) if folder else None
    return GalleryDescription(
        uri=uri or "memory",
        n_images=n_images,
        n_files=n_files,
        model=manifest.model_name,
        fingerprint=manifest.fingerprint,
        width=manifest.width,
        precision=manifest.precision,
        preprocessing=dict(manifest.preprocessing),
        version=manifest.version,
        created=manifest.created,
        keep_shares=manifest.keep_shares,
        table_version=version,
        accelerator="none" if built is None else "fresh" if built == version else "stale",
        calibration=None if manifest.calibration is None else dict(manifest.calibration),
        metadata_fields=fields,
    )
