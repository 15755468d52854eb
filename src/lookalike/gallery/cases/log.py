"""The file of a case: an append-only list of events in SQLite, and the query pictures that it keeps.

An event is on the disk when ``append`` returns (write-ahead log, one sync for each commit). Several
processes and threads may write: each waits for its turn.
"""

from __future__ import annotations

import datetime
import json
import os
import sqlite3
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lookalike.errors import GalleryError, writing

_FORMAT = "1"
_WAITING_SECONDS = 30  # for other writers
_TABLES = (
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE pictures (sha256 TEXT PRIMARY KEY, name TEXT NOT NULL, data BLOB NOT NULL)",
    "CREATE TABLE events (number INTEGER PRIMARY KEY AUTOINCREMENT, time TEXT NOT NULL, who TEXT NOT NULL, "
    "kind TEXT NOT NULL, body TEXT NOT NULL)",
    "CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events "
    "BEGIN SELECT RAISE(ABORT, 'events are only added'); END",
    "CREATE TRIGGER events_are_not_removed BEFORE DELETE ON events "
    "BEGIN SELECT RAISE(ABORT, 'events are only added'); END",
)


@dataclass(frozen=True)
class CaseEvent:
    """Something that happened in a case; it is never changed."""

    number: int  # from 1, in the order of writing
    time: str  # UTC, ISO 8601
    who: str  # empty where nobody said
    kind: str  # search, decide or undo
    body: Mapping[str, Any]  # JSON types


@dataclass(frozen=True)
class NewEvent:
    """An event that is to be written; it gets its number and time by that."""

    kind: str
    body: Mapping[str, Any]


@final
class CaseLog:
    """The events of a case, read incrementally: what was read once is not read again."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._known: list[CaseEvent] = []
        self._turn = threading.RLock()
        self._open: tuple[tuple[int, ...] | None, sqlite3.Connection] | None = None
        self._pid = 0  # of the process that opened it

    def create(self) -> bool:
        """Create the file unless it exists; return whether it was created.

        It is made beside and gets its name when it is whole, so that an empty file is one that was cut.
        """
        if self.file.exists():
            return False
        with writing(self.file, GalleryError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            beside = self.file.with_name(f".{os.getpid()}-{threading.get_ident()}{self.file.suffix}.new")
            try:
                _make(beside)
                _name_anew(beside, self.file)
            except FileExistsError:
                return False
            except sqlite3.Error as error:
                raise OSError(str(error)) from error
            finally:
                beside.unlink(missing_ok=True)
        return True

    def check(self) -> None:
        """Raise GalleryError unless this is the file of a case, of a format that is known."""
        if self.file.is_file() and self.file.stat().st_size == 0:
            raise GalleryError(
                f"{self.file} is empty, and the file of a case never is: what it held is lost here; put a "
                "copy of it in its place, or remove it and import an export of the case"
            )
        found = self.about().get("format")
        if found != _FORMAT:
            raise GalleryError(
                f"{self.file} has format {found!r} and this version reads {_FORMAT}; update lookalike"
            )

    def about(self) -> dict[str, str]:
        """Return the format and the time of creation."""
        with self._connected() as connection:
            return dict(connection.execute("SELECT name, value FROM about").fetchall())

    def events(self) -> list[CaseEvent]:
        """Return all events in the order of writing."""
        with self._connected() as connection:
            return list(self._read(connection))

    def append(self, make: Callable[[Sequence[CaseEvent]], Sequence[NewEvent]], *, who: str) -> None:
        """Add the events that ``make`` returns for those written before; nobody writes in between."""
        with self._connected() as connection, _transaction(connection):
            rows = [
                (_now(), who, new.kind, json.dumps(new.body, ensure_ascii=False, separators=(",", ":")))
                for new in make(self._read(connection))
            ]
            connection.executemany("INSERT INTO events (time, who, kind, body) VALUES (?, ?, ?, ?)", rows)

    def keep_picture(self, sha256: str, name: str, data: bytes) -> None:
        """Keep the bytes of a picture, once for each content."""
        with self._connected() as connection, _transaction(connection):
            connection.execute("INSERT OR IGNORE INTO pictures VALUES (?, ?, ?)", (sha256, name, data))

    def picture(self, start: str) -> tuple[str, bytes] | None:
        """Return name and bytes of a kept picture by its SHA-256 or the start of it."""
        with self._connected() as connection:
            query = "SELECT name, data FROM pictures WHERE substr(sha256, 1, ?) = ?"
            found: tuple[str, bytes] | None = connection.execute(query, (len(start), start)).fetchone()
            return found

    def _read(self, connection: sqlite3.Connection) -> Sequence[CaseEvent]:
        """All events; those after the last known one are read from the file."""
        known = self._known
        last = known[-1].number if known else 0
        query = "SELECT number, time, who, kind, body FROM events WHERE number > ? ORDER BY number"
        new = [
            CaseEvent(number, time, who, kind, json.loads(body))
            for number, time, who, kind, body in connection.execute(query, (last,))
        ]
        if new:  # another list, since a thread may be reading the known one
            self._known = known = [*known, *new]
        return known

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time; GalleryError for what SQLite refuses."""
        try:
            with self._turn:
                connection = self._connection_to()
                try:
                    yield connection
                finally:
                    if self._open is None:
                        connection.close()
        except sqlite3.OperationalError as error:
            if str(error).startswith("no such"):  # table or column
                raise GalleryError(
                    f"{self.file} is not the file of a case, or of another version ({error}); import an "
                    "export of it"
                ) from error
            raise GalleryError(
                f"the case {self.file} can't be used: {error}; check the disk and its permissions"
            ) from error
        except (sqlite3.DatabaseError, json.JSONDecodeError, RecursionError) as error:
            raise GalleryError(
                f"{self.file} is not the file of a case, or is damaged ({error}); import an export of it"
            ) from error

    def _is_fixed(self) -> bool:
        """Whether it lies where we can't write, such as on a read-only disk, and nobody has it open."""
        log = self.file.with_name(self.file.name + "-wal")
        folder = self.file.parent
        return self.file.is_file() and not log.exists() and not os.access(folder, os.W_OK)

    def _connection_to(self) -> sqlite3.Connection:
        """The connection, opened once. Raises GalleryError if its file was removed or replaced since."""
        if self._open is not None and self._pid == os.getpid():  # a forked process opens its own
            if self._open[0] != _identity(self.file):
                raise GalleryError(
                    f"{self.file} was removed or replaced while it was in use; end the programs that use it, "
                    "and open the case again"
                )
            return self._open[1]
        is_fixed = self._is_fixed()
        how = "ro&immutable=1" if is_fixed else "rw"  # else SQLite would make files beside it
        connection = sqlite3.connect(
            f"{self.file.absolute().as_uri()}?mode={how}",
            timeout=_WAITING_SECONDS,
            isolation_level=None,
            check_same_thread=False,
            uri=True,
        )
        if not is_fixed:  # what nobody can write is opened anew each time: others may write it elsewhere
            weakref.finalize(self, connection.close)
            connection.execute("PRAGMA synchronous = FULL")
            self._pid, self._open = os.getpid(), (_identity(self.file), connection)
        return connection


def _identity(file: Path) -> tuple[int, ...] | None:
    """What tells a file from another at its path; None if there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and nobody else writes meanwhile."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _make(file: Path) -> None:
    """Write the file of a case without events."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        with _transaction(connection):
            for statement in _TABLES:
                connection.execute(statement)
            values = {"format": _FORMAT, "created": _now()}
            connection.executemany("INSERT INTO about VALUES (?, ?)", list(values.items()))
        connection.execute("PRAGMA journal_mode = WAL")


def _name_anew(file: Path, name: Path) -> None:
    """Give a file a name that no other has. Raises FileExistsError."""
    try:
        name.hardlink_to(file)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if name.exists():
            raise FileExistsError(name) from None
        file.rename(name)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
