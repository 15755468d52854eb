"""A folder, or an object store's prefix, of finished shards: Parquet files, and a manifest that says of what.

A shard is there as a whole or not at all, whatever kills its writer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import final

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from lookalike.errors import GalleryError, writing
from lookalike.store.uris import filesystem_of

_SUFFIX = ".parquet"
_MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ShardManifest:
    """What a folder's shards are made with; those made with anything else are of no use."""

    fingerprint: str  # of the model
    width: int  # D
    keep_shares: bool


@final
class ShardFolder:
    """Finished shards by name, readable by every machine that works on them."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def prepare(self, manifest: ShardManifest) -> None:
        """Create the folder, and drop shards that were made with another model or other settings."""
        filesystem, path = filesystem_of(self.uri)
        with writing(self.uri, GalleryError):
            filesystem.create_dir(path, recursive=True)
            if self._manifest() != manifest:
                self.drop(self.names())
                with filesystem.open_output_stream(f"{path}/{_MANIFEST}") as file:
                    file.write(json.dumps(asdict(manifest), indent=2).encode())

    def names(self) -> list[str]:
        """Return the names of the finished shards, in order."""
        filesystem, path = filesystem_of(self.uri)
        found = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
        names = [each.base_name for each in found]
        return sorted(
            name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX) and name[0] != "."
        )

    def write(self, name: str, rows: pa.Table) -> None:
        """Write a shard at once."""
        filesystem, path = filesystem_of(self.uri)
        final_path = f"{path}/{name}{_SUFFIX}"
        is_local = isinstance(filesystem, fs.LocalFileSystem)  # an object appears when it is complete
        beside = f"{path}/.{name}.{os.getpid()}" if is_local else final_path
        with writing(self.uri, GalleryError):
            pq.write_table(rows, beside, filesystem=filesystem)
            if is_local:
                filesystem.move(beside, final_path)

    def read(self, name: str) -> pa.Table:
        """Return a shard's rows. Raises FileNotFoundError if there is no such shard."""
        filesystem, path = filesystem_of(self.uri)
        return pq.read_table(f"{path}/{name}{_SUFFIX}", filesystem=filesystem)

    def drop(self, names: Iterable[str]) -> None:
        """Delete shards."""
        filesystem, path = filesystem_of(self.uri)
        for name in names:
            try:
                filesystem.delete_file(f"{path}/{name}{_SUFFIX}")
            except FileNotFoundError:
                continue

    def remove(self) -> None:
        """Delete the folder if no shard is left in it."""
        filesystem, path = filesystem_of(self.uri)
        if not self.names():
            filesystem.delete_dir(path)

    def _manifest(self) -> ShardManifest | None:
        filesystem, path = filesystem_of(self.uri)
        try:
            with filesystem.open_input_stream(f"{path}/{_MANIFEST}") as file:
                return ShardManifest(**json.loads(file.read()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
