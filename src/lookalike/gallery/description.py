"""Summary of a gallery: its size, model and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from lookalike.store import Manifest, VectorStore
from lookalike.store.accelerator import accelerated_version
from lookalike.store.lance_rows import counts_of
from lookalike.types.html import table_html


@dataclass(frozen=True, repr=False)
class GalleryDescription:
    """Size, model and settings of a gallery."""

    uri: str  # "memory" for one that is not saved
    n_images: int  # distinct contents
    n_files: int  # including copies
    model: str
    fingerprint: str  # SHA-256 of the model's weights and settings
    width: int  # D, of the embeddings
    precision: str  # of the model's forward pass: fp32, bf16
    preprocessing: dict[str, Any]
    version: str  # of lookalike when the gallery was created
    created: str  # date and time, UTC
    keep_shares: bool
    table_version: int
    accelerator: str  # "none", "fresh" or "stale"
    calibration: dict[str, Any] | None
    metadata_fields: dict[str, int]  # field -> number of images that have it
    runtimes: dict[str, Any] = field(default_factory=dict)  # that embedded pictures, besides eager

    def __hash__(self) -> int:
        return hash((self.uri, self.fingerprint, self.table_version, self.n_images))

    def _repr_html_(self) -> str:
        """Return what people ask of a gallery as a table, for notebooks."""
        rows = (
            ("images", f"{self.n_images:,} in {self.n_files:,} files"),
            ("model", f"{self.model}, {self.width} dimensions, {self.precision}"),
            ("metadata", ", ".join(f"{name} ({n})" for name, n in self.metadata_fields.items()) or "none"),
            ("calibrated", "yes" if self.calibration else "no"),
            ("created", self.created),
        )
        return table_html(self.uri, ("", ""), rows)

    def __repr__(self) -> str:
        return f"GalleryDescription({self.uri!r}, {self.n_images} images, model {self.model!r})"


@dataclass(frozen=True)
class _Counts:
    """What one version of a table holds."""

    version: int
    n_images: int
    n_files: int
    fields: Mapping[str, int]  # field -> number of images that have it

    @classmethod
    def of(cls, store: VectorStore) -> _Counts:
        version, records = store.version, store.records()
        n_files, fields = counts_of(records)
        return cls(version, len(records), n_files, fields)


@final
class Describer:
    """Makes summaries of a gallery; records are counted once for each version of its table."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self._counts: _Counts | None = None

    def describe(self, manifest: Manifest, uri: str | None, folder: Path | None) -> GalleryDescription:
        """Return the summary; ``folder`` is the gallery's local folder, or None."""
        counts = self._counts
        if counts is None or counts.version != self._store.version:
            self._counts = counts = _Counts.of(self._store)
        return _description(counts, manifest, uri, folder)


def _description(
    counts: _Counts, manifest: Manifest, uri: str | None, folder: Path | None
) -> GalleryDescription:
    built = accelerated_version(folder) if folder else None
    return GalleryDescription(
        uri=uri or "memory",
        n_images=counts.n_images,
        n_files=counts.n_files,
        model=manifest.model_name,
        fingerprint=manifest.fingerprint,
        width=manifest.width,
        precision=manifest.precision,
        preprocessing=dict(manifest.preprocessing),
        version=manifest.version,
        created=manifest.created,
        keep_shares=manifest.keep_shares,
        table_version=counts.version,
        accelerator="none" if built is None else "fresh" if built == counts.version else "stale",
        calibration=None if manifest.calibration is None else dict(manifest.calibration),
        runtimes=dict(manifest.runtimes or {}),
        metadata_fields=dict(counts.fields),
    )
