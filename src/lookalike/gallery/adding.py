"""Adding files to a gallery: stat, hash, decode, embed and commit, once for each distinct content.

An interrupted run is resumed here: what was committed is recognized and not read again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future

from lookalike.errors import DeviceMemoryError, StoreUnreachableError, UnreadableImageError
from lookalike.gallery.add_report import AddReport
from lookalike.gallery.add_run import AddRun, AddSettings
from lookalike.images import DecodedFile, Decoders, is_remote
from lookalike.models.embedder import Embedder
from lookalike.store import VectorStore
from lookalike.types.machine import usable_cores

_BYTES_EACH = 96 * 1024  # of a file, which take as long to decode as a small network takes on two cores
_SAMPLE = 32  # files
_FEW = 24  # up to this many files are decoded in this process: starting another takes longer


def add_files(
    paths: Sequence[str], store: VectorStore, embedder: Embedder, settings: AddSettings
) -> AddReport:
    """Add files by absolute path; see ``Gallery.add``. The report's ``vanished`` is left empty."""
    run = AddRun(store, embedder, settings)
    to_read = run.files_to_read(paths)
    workers = _n_workers(settings.workers, len(to_read))
    at_first = None if settings.workers is not None else _n_at_first(to_read, run)
    with Decoders(workers, embedder.preprocessing, at_first=at_first) as decoders:
        try:
            for path, decoded in _decoded(to_read, decoders, run):
                run.batch = max(run.batch, embedder.images_at_once)  # found in the first passes
                run.take(path, decoded)
            return run.finish()
        except DeviceMemoryError:
            run.save()
            raise
        except StoreUnreachableError:
            run.commit()
            raise


def _n_workers(wanted: int | None, n_files: int) -> int:
    if wanted is not None:
        return wanted
    cpus = usable_cores()
    return 0 if n_files <= _FEW else min(cpus, 16)


def _n_at_first(paths: Sequence[str], run: AddRun) -> int:
    """Processes to start with: more for large files, while the model has nothing to do yet."""
    local = [path for path in paths[:_SAMPLE] if not is_remote(path)]  # others are not asked for twice
    sizes = [run.size_of(path) or 0 for path in local]
    return 1 + int(sum(sizes) / max(1, len(sizes)) / _BYTES_EACH)


def _decoded(
    paths: Iterable[str], decoders: Decoders, run: AddRun
) -> Iterator[tuple[str, DecodedFile | UnreadableImageError]]:
    """Yield decoded files, read ahead by a bounded number; files of known content are only hashed."""
    waiting: deque[tuple[str, Future[DecodedFile]]] = deque()
    remaining = iter(paths)
    exhausted = False
    while waiting or not exhausted:
        ahead = run.batch + 4 * decoders.workers if decoders.workers else 1
        while len(waiting) < ahead and not exhausted:
            path = next(remaining, None)
            if path is None:
                exhausted = True
            elif run.has_size_of(path):
                waiting.append((path, decoders.hash(run.listed(path))))
            else:
                waiting.append((path, decoders.decode(run.listed(path))))
        if not waiting:
            return
        path, future = waiting.popleft()
        try:
            found = decoders.result(future)
        except StoreUnreachableError:
            raise
        except UnreadableImageError as error:
            yield path, error
            continue
        if found.pixels is None and not run.has_content(found):
            waiting.append((path, decoders.decode(run.listed(path))))
        else:
            yield path, found
