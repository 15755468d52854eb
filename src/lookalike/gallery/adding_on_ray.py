"""Adding files on a Ray cluster: workers decode, embed and write shards; this process commits them in order.

Shards that a killed run left are taken first, so nothing is embedded twice; rows are keyed by content, so
nothing is added twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path

from filelock import FileLock, Timeout

from lookalike.distributed import RayCluster, Shard, ShardFolder, ShardManifest, sharded_map
from lookalike.errors import GalleryError, UnreadableImageError
from lookalike.gallery.add_report import AddReport
from lookalike.gallery.add_run import AddRun, AddSettings
from lookalike.gallery.embedding import EmbeddedFile, NotEmbedded
from lookalike.gallery.shard_rows import ShardWork, UnreadableFile, path_in_list, path_of, rows_to_results
from lookalike.images.limits import default_limits
from lookalike.models.embedder import Embedder, on_processor
from lookalike.store import VectorStore

_FOLDER = "shards"  # in the gallery
_FILES = 256  # in a shard
_FILES_WITH_SHARES = 64


@dataclass(frozen=True)
class RaySettings:
    """Where the work is done."""

    uri: str | None  # of the gallery
    address: str | None  # see ``RayCluster``


def add_files_on_ray(
    paths: Sequence[str], store: VectorStore, embedder: Embedder, settings: AddSettings, where: RaySettings
) -> AddReport:
    """Add files by absolute path, as ``add_files`` does; every worker must see them, and the gallery.

    Raises GalleryError for a gallery in memory, without Ray, or if another process does the same.
    """
    if where.uri is None:
        raise GalleryError("the engine ray needs a gallery on disk or at s3://, which its workers write to")
    run = AddRun(store, embedder, settings)
    to_read = run.files_to_read(paths)
    if not to_read:
        return run.finish()
    with _only_run(where.uri), RayCluster(where.address, settings.workers) as cluster:
        folder = ShardFolder(f"{where.uri.rstrip('/')}/{_FOLDER}")
        folder.prepare(ShardManifest(embedder.fingerprint(), embedder.width, settings.keep_shares))
        earlier, spent = _earlier_shards(folder, paths, to_read, run)
        plan = _plan(to_read, earlier, _FILES_WITH_SHARES if settings.keep_shares else _FILES, run)
        known = run.known_content
        work = ShardWork(
            on_processor(embedder), settings.keep_shares, known.ids, known.sizes, default_limits()
        )
        imported: list[str] = []
        for shard in sharded_map(cluster, plan, work.start, folder):
            _import(shard, folder, run)
            if not shard.is_done:
                imported.append(shard.name)
            if run.is_committed:
                folder.drop(imported)
                imported.clear()
        report = run.finish()
        folder.drop([*imported, *spent])
        folder.remove()
        return report


def _plan(paths: Sequence[str], earlier: Mapping[str, str], n_files: int, run: AddRun) -> Iterator[Shard]:
    """Cut the list into shards; what an earlier run has embedded keeps its place in the order."""
    started, index = f"{time.time_ns():020d}", 0
    for name, group in groupby(paths, earlier.get):
        members = map(run.listed, group)
        while part := tuple(islice(members, n_files)):
            yield Shard(index, name or f"{started}-{index:07d}", part, is_done=name is not None)
            index += 1


def _earlier_shards(
    folder: ShardFolder, asked: Sequence[str], to_read: Sequence[str], run: AddRun
) -> tuple[dict[str, str], list[str]]:
    """Shards of an earlier run: the paths that they hold as these are now, by path; and names of no more use.

    A shard stays as long as it holds a file that this run was not asked for.
    """
    names = folder.names()
    everything, wanted = (set(asked), set(to_read)) if names else (set(), set())
    found: dict[str, str] = {}
    spent: list[str] = []
    for name in names:
        results = [each for each in rows_to_results(folder.read(name)) if isinstance(each, EmbeddedFile)]
        held = {each.file.path for each in results if run.is_as_it_was(each.file)}
        found |= dict.fromkeys(held & wanted, name)
        if held <= everything:
            spent.append(name)
    return found, spent


def _import(shard: Shard, folder: ShardFolder, run: AddRun) -> None:
    """Add the rows of a shard's items to the run."""
    try:
        results = rows_to_results(folder.read(shard.name))
    except FileNotFoundError as error:
        raise GalleryError(
            f"a worker has written {shard.name} to {folder.uri}, and this machine does not see it; put the "
            "gallery on a drive that all machines share, or at s3://"
        ) from error
    wanted = set(map(path_in_list, shard.items))
    embedded: list[EmbeddedFile | NotEmbedded] = []
    for result in results:
        if path_of(result) not in wanted:
            continue
        if isinstance(result, UnreadableFile):
            run.take(result.path, UnreadableImageError(result.reason))
        elif isinstance(result, EmbeddedFile | NotEmbedded):
            embedded.append(result)
        elif run.has_content(result):  # else it was removed meanwhile, and the next run reads it again
            run.take(result.path, result)
    run.take_embedded(embedded)


def _only_run(uri: str) -> AbstractContextManager[object]:
    """Keeps a second run of this machine from the same shards; at an object store that is the user's care."""
    if "://" in uri:
        return nullcontext()
    lock = FileLock(Path(uri) / ".shards.lock", timeout=0)
    try:
        return lock.acquire()
    except Timeout as error:
        raise GalleryError(f"{uri} is being filled on Ray by another process; wait for it to end") from error
