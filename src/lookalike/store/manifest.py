"""What a gallery remembers of itself, in a small JSON file beside the table; written at one stroke."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyarrow import fs

from lookalike.errors import GalleryError
from lookalike.store.uris import plain_uri

if TYPE_CHECKING:
    from lookalike.models.devices import Precision

MANIFEST = "gallery.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """Which model made the embeddings, and how."""

    model: str  # what Embedder.load takes
    model_name: str  # what the embedder calls itself
    fingerprint: str  # Embedder.fingerprint()
    preprocessing: Mapping[str, Any]  # Preprocessing.to_dict()
    width: int  # D
    precision: Precision  # that the model runs in: fp32 or bf16
    version: str  # of this package
    created: str  # date and time, UTC, ISO 8601
    keep_shares: bool = False
    calibration: Mapping[str, Any] | None = None  # see gallery.calibration
    format: int = field(default=FORMAT)


def read_manifest(uri: str | Path) -> Manifest:
    """The manifest of the gallery at a URI. Raises GalleryError where there is none."""
    text = _read(uri)
    try:
        values = json.loads(text)
        if values.get("format") != FORMAT:
            raise GalleryError(
                f"{uri} has format {values.get('format')!r} and this version reads {FORMAT}; "
                "update lookalike or index again"
            )
        known = {name.name for name in fields(Manifest)}
        return Manifest(**{name: value for name, value in values.items() if name in known})
    except (ValueError, TypeError, AttributeError) as error:
        raise GalleryError(f"{uri}/{MANIFEST} is damaged ({error}); index again") from error


def has_manifest(uri: str | Path) -> bool:
    """Whether a gallery lies at the URI. Raises GalleryError where one can't look."""
    try:
        filesystem, path = _filesystem(uri)
        return bool(filesystem.get_file_info(f"{path}/{MANIFEST}").type == fs.FileType.File)
    except (OSError, ValueError) as error:
        raise GalleryError(
            f"{uri} can't be reached: {error}; give a folder, or a URI such as s3://bucket/photos"
        ) from error


def write_manifest(uri: str | Path, manifest: Manifest) -> None:
    """Write the manifest: complete or, if the process is killed, not at all."""
    filesystem, path = _filesystem(uri)
    temporary = f"{path}/.{MANIFEST}.{os.getpid()}"
    text = json.dumps(asdict(manifest), indent=2)
    try:
        filesystem.create_dir(path, recursive=True)
        with filesystem.open_output_stream(temporary) as file:
            file.write(text.encode())
        filesystem.move(temporary, f"{path}/{MANIFEST}")
    except OSError as error:
        raise GalleryError(f"{uri} can't be written: {error}; choose another one") from error


def _read(uri: str | Path) -> bytes:
    try:
        filesystem, path = _filesystem(uri)
        with filesystem.open_input_stream(f"{path}/{MANIFEST}") as file:
            return bytes(file.read())
    except FileNotFoundError as error:
        raise GalleryError(
            f"{uri} is no gallery (it holds no {MANIFEST}); make one with 'lookalike index DIR -g {uri}'"
        ) from error
    except (OSError, ValueError) as error:
        raise GalleryError(f"{uri} is no gallery that can be read: {error}; check the path") from error


def _filesystem(uri: str | Path) -> tuple[fs.FileSystem, str]:
    """The file system that a local path or a URI such as s3://bucket/photos lies on."""
    text = plain_uri(uri)
    if "://" in text:
        filesystem, path = fs.FileSystem.from_uri(text)
        return filesystem, path
    return fs.LocalFileSystem(), str(Path(text).absolute())
