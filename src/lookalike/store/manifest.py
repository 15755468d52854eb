"""The manifest of a gallery: a small JSON file beside the table, written atomically."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyarrow import fs

from lookalike.errors import GalleryError, writing
from lookalike.store.uris import filesystem_of, plain_uri

if TYPE_CHECKING:
    from lookalike.models.devices import Precision

MANIFEST = "gallery.json"
_TABLE_FOLDER = "images.lance"  # of store.lance
FORMAT = 1
_MOST_WIDTH = 2**20  # dimensions of an embedding


@dataclass(frozen=True)
class Manifest:
    """The model and settings that made a gallery's embeddings."""

    model: str  # argument of Embedder.load
    model_name: str  # Embedder.name
    fingerprint: str  # Embedder.fingerprint()
    preprocessing: Mapping[str, Any]  # Preprocessing.to_dict()
    width: int  # D
    precision: Precision  # of the model's forward pass: fp32, bf16 or fp16
    version: str  # of this package
    created: str  # date and time, UTC, ISO 8601
    keep_shares: bool = False
    calibration: Mapping[str, Any] | None = None  # see gallery.calibration
    geometry: Mapping[str, Any] | None = None  # see rerankers.match_odds
    runtimes: Mapping[str, Any] | None = None  # others than eager that embedded, see models.runtimes
    format: int = field(default=FORMAT)


def read_manifest(uri: str | Path) -> Manifest:
    """Read the manifest of the gallery at a URI. Raises GalleryError if it is missing or damaged."""
    text = _read(uri)
    try:
        values = json.loads(text)
        if values.get("format") != FORMAT:
            raise GalleryError(
                f"{uri} has format {values.get('format')!r} and this version reads {FORMAT}; "
                "update lookalike or index again"
            )
        known = {name.name for name in fields(Manifest)}
        return _checked(Manifest(**{name: value for name, value in values.items() if name in known}))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise GalleryError(f"{uri}/{MANIFEST} is damaged ({error}); index again") from error


def _checked(manifest: Manifest) -> Manifest:
    """The manifest, if its values are of the types that are written; ValueError otherwise."""
    texts = ("model", "model_name", "fingerprint", "precision", "version", "created")
    if wrong := [name for name in texts if not isinstance(getattr(manifest, name), str)]:
        raise ValueError(f"{wrong[0]} should be a text, got {getattr(manifest, wrong[0])!r:.100}")
    width = manifest.width
    if not isinstance(width, int) or isinstance(width, bool) or not 1 <= width <= _MOST_WIDTH:
        raise ValueError(f"width should be 1 to {_MOST_WIDTH:,}, got {width!r:.100}")
    for name, kinds in (
        ("preprocessing", dict),
        ("calibration", dict | None),
        ("geometry", dict | None),
        ("keep_shares", bool),
        ("runtimes", dict | None),
    ):
        if not isinstance(getattr(manifest, name), kinds):
            raise ValueError(f"{name} is {getattr(manifest, name)!r:.100}")
    return manifest


def has_manifest(uri: str | Path) -> bool:
    """Whether there is a gallery at the URI. Raises GalleryError if the URI can't be reached."""
    try:
        filesystem, path = filesystem_of(uri)
        return bool(filesystem.get_file_info(f"{path}/{MANIFEST}").type == fs.FileType.File)
    except (OSError, ValueError) as error:
        raise GalleryError(
            f"{uri} can't be reached: {error}; give a folder, or a URI such as s3://bucket/photos"
        ) from error


def check_no_table(uri: str | Path) -> None:
    """Raise GalleryError where a gallery's table lies without its manifest: another would hide the model."""
    filesystem, path = filesystem_of(uri)
    with writing(uri, GalleryError):
        kind = filesystem.get_file_info(f"{path}/{_TABLE_FOLDER}").type
    if kind != fs.FileType.NotFound:
        raise GalleryError(
            f"{uri} has lost its {MANIFEST}, which says what model made its embeddings; put it back from a "
            "backup, or index into a new folder"
        )


def write_manifest(uri: str | Path, manifest: Manifest) -> None:
    """Write the manifest atomically. Raises GalleryError if it can't be written."""
    filesystem, path = filesystem_of(uri)
    temporary = f"{path}/.{MANIFEST}.{os.getpid()}"
    text = json.dumps(asdict(manifest), indent=2)
    with writing(uri, GalleryError):
        filesystem.create_dir(path, recursive=True)
        with filesystem.open_output_stream(temporary) as file:
            file.write(text.encode())
        filesystem.move(temporary, f"{path}/{MANIFEST}")


def is_writable(uri: str | Path) -> bool:
    """Whether this process may write into a gallery's folder; assumed of an object store."""
    text = plain_uri(uri)
    return "://" in text or os.access(text, os.W_OK)


def _read(uri: str | Path) -> bytes:
    try:
        filesystem, path = filesystem_of(uri)
        with filesystem.open_input_stream(f"{path}/{MANIFEST}") as file:
            return bytes(file.read())
    except FileNotFoundError as error:
        check_no_table(uri)
        raise GalleryError(
            f"{uri} is no gallery (it has no {MANIFEST}); create one with 'lookalike index DIR -g {uri}'"
        ) from error
    except (OSError, ValueError) as error:
        raise GalleryError(f"{uri} is no gallery that can be read: {error}; check the path") from error
