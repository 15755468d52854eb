"""Background jobs that add pictures, one at a time, while searches continue."""

from __future__ import annotations

import copy
import hashlib
import logging
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import final

from fastapi import HTTPException

from lookalike.errors import LookalikeError
from lookalike.gallery import AddReport, Gallery
from lookalike.types import Progress
from lookalike.web.caching import LRUCache
from lookalike.web.limits import WebLimits
from lookalike.web.model_turns import ModelLock
from lookalike.web.schemas import JobOut, UnreadableOut
from lookalike.web.uploads import Form, Uploads

_JOBS_HELD = 100
_UPLOADS = "uploads"  # subfolder for uploaded pictures
_SUFFIXES = {b"\x89PNG": ".png", b"\xff\xd8\xff": ".jpg", b"RIFF": ".webp", b"GIF8": ".gif", b"BM": ".bmp"}

_logger = logging.getLogger(__name__)


class _StoppedError(Exception):
    """The server is shutting down, so the job stops."""


@final
class Jobs:
    """Runs jobs and reports on them by id.

    Pictures may be added only from inside ``folder``; None disables adding.
    """

    def __init__(self, folder: Path | None, limits: WebLimits, uploads: Uploads, model: ModelLock) -> None:
        self.folder = None if folder is None else folder.resolve()
        self._limits, self._uploads, self._model = limits, uploads, model
        self._jobs: LRUCache[str, JobOut] = LRUCache(_JOBS_HELD)
        self._thread = ThreadPoolExecutor(1, "adding")
        self._is_stopping = threading.Event()
        self._storing = threading.Lock()

    def get(self, id: str) -> JobOut | None:
        """Return the state of a job, or None if the id is unknown."""
        return self._jobs.get(id)

    def add_folder(self, gallery: Gallery, folder: str) -> JobOut:
        """Start adding a folder, given relative to the permitted one.

        Raises HTTPException: 403 outside the permitted folder, 404 for a missing folder, 422 for a
        string that is not a path.
        """
        top = self._permitted()
        try:
            wanted = (top / folder).resolve()
            is_folder = wanted.is_dir()  # raises for a name that is too long
        except (OSError, ValueError) as error:
            raise HTTPException(422, "the folder is not a valid path") from error
        if not wanted.is_relative_to(top):
            raise HTTPException(403, "the folder is outside the one that pictures may be added from")
        if not is_folder:
            raise HTTPException(404, f"there is no folder {folder!r} to add pictures from")
        return self._start(gallery, wanted)

    def add_upload(self, gallery: Gallery, form: Form) -> JobOut:
        """Check an uploaded picture, store it under its hash and start adding it.

        Raises HTTPException with status 403 if adding is disabled and 507 if the uploads take up too much
        disk, and UnreadableImageError.
        """
        top = self._permitted()
        self._uploads.checked_size(form)
        suffix = next((s for start, s in _SUFFIXES.items() if form.data.startswith(start)), ".tif")
        file = top / _UPLOADS / f"{hashlib.sha256(form.data).hexdigest()}{suffix}"
        file.parent.mkdir(exist_ok=True)
        with self._storing:
            stored = sum(entry.stat().st_size for entry in file.parent.iterdir() if entry != file)
            if stored + len(form.data) > self._limits.max_stored_bytes:
                limit = f"{self._limits.max_stored_bytes / 2**30:.1f} GiB"
                raise HTTPException(
                    507, f"uploads take up the {limit} that they may; ask who runs this server"
                )
            file.write_bytes(form.data)
        return self._start(gallery, file)

    def close(self) -> None:
        """Stop the running job before its next picture; pictures already committed stay in the gallery."""
        self._is_stopping.set()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _permitted(self) -> Path:
        if self.folder is None:
            raise HTTPException(403, "adding pictures is disabled; start the server with --add-from DIR")
        return self.folder

    def _start(self, gallery: Gallery, source: Path) -> JobOut:
        job = JobOut(id=secrets.token_hex(8), state="waiting")
        self._jobs.put(job.id, job)
        self._thread.submit(self._run, job, gallery, source)
        return job

    def _run(self, job: JobOut, gallery: Gallery, source: Path) -> None:
        job.state = "running"
        try:
            self._finish(job, self._add(job, gallery, source))
        except _StoppedError:
            job.state = "stopped"
        except LookalikeError as error:
            job.state, job.error = "failed", str(error).replace(str(self.folder), "")
        except Exception:
            _logger.exception("job %s failed", job.id)
            job.state, job.error = "failed", "adding failed because of an internal error; see the server log"

    def _add(self, job: JobOut, gallery: Gallery, source: Path) -> AddReport:
        def note(progress: Progress) -> None:
            if self._is_stopping.is_set():
                raise _StoppedError
            job.done, job.total = progress.done, progress.total
            job.rate, job.remaining = progress.rate, progress.remaining

        if gallery.uri is None:
            with self._model.held():
                return gallery.add(source, progress=note)
        with self._model.held():  # a copy of the model, so that searches don't wait for the job
            embedder = copy.deepcopy(gallery.embedder)
        return Gallery.open(gallery.uri, embedder).add(source, progress=note)

    def _finish(self, job: JobOut, report: AddReport) -> None:
        job.added, job.known, job.moved = report.added, report.known, len(report.moved)
        job.unreadable = [
            UnreadableOut(name=Path(path).name, reason=reason) for path, reason in report.unreadable
        ]
        job.skipped = [UnreadableOut(name=Path(path).name, reason=reason) for path, reason in report.skipped]
        job.conflicts = [words.replace(f"{self.folder}/", "") for words in report.conflicts]
        job.state = "done"
