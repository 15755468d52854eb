"""Pictures inside WebDataset tars, on disk or at ``s3://``; a member's path is ``TAR/NAME``.

A tar is passed over once for the list of its members; each is then read by itself, at its place.
"""

from __future__ import annotations

import io
import json
import stat
import tarfile
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from lookalike.errors import UnreadableImageError, first_line
from lookalike.images.listing import IMAGE_SUFFIXES, SYSTEM_FOLDERS
from lookalike.images.object_store import (
    FoundFile,
    is_remote,
    odd_name,
    opened_object,
    path_text,
    remote_status,
    remote_uri,
)
from lookalike.images.originals import kept, whole

_BUFFER = 2**18  # bytes read at once in passing over a tar at s3://
_MOST_VALUES = 2**20  # bytes of a sample's metadata
_LISTS = 16  # of members, that are kept in memory
_BLOCK = tarfile.BLOCKSIZE
_TEXTS = {"cls": "label", "label": "label", "txt": "text"}  # suffix of a sample's file -> field
_FORM = 1  # of lists that are kept on disk


@dataclass(frozen=True)
class TarIndex:
    """The pictures in a tar, in its order, with what their samples say of them."""

    members: Mapping[str, tuple[int, int]]  # name -> where its bytes begin, and their number
    samples: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # key -> metadata
    unreadable: tuple[tuple[str, str], ...] = ()  # name (empty: the tar) and reason

    def metadata(self, name: str) -> Mapping[str, Any]:
        """What the sample of a picture says: fields of its JSON, ``label`` and ``text``."""
        return self.samples.get(_key_and_suffix(name)[0], {})


_lists: OrderedDict[tuple[object, ...], TarIndex] = OrderedDict()
_lists_lock = threading.Lock()


def is_tar(path: str | Path) -> bool:
    """Whether a path is that of a tar, by its name."""
    return str(path).lower().endswith(".tar")


def split_member(path: str | Path) -> tuple[str, str] | None:
    """The tar and the name in it of a member's path; None for any other path.

    On disk the tar must be a file: there may be folders of such names.
    """
    text = path_text(path)
    parts = text.split("/")
    for n, part in enumerate(parts[:-1], 1):
        tar = "/".join(parts[:n])
        if part.lower().endswith(".tar") and (is_remote(text) or Path(tar).is_file()):
            return tar, "/".join(parts[n:])
    return None


def tar_index(tar: str | Path) -> TarIndex:
    """The list of a tar's pictures, kept in the user's cache until the tar changes.

    Raises FileNotFoundError, and UnreadableImageError for what is no uncompressed tar.
    """
    path = remote_uri(tar) if is_remote(tar) else str(Path(tar).absolute())
    state = _state(path)
    with _lists_lock:
        if state in _lists:
            _lists.move_to_end(state)
            return _lists[state]
    text = kept(f"{_FORM}\n{state}", lambda: json.dumps(asdict(_pass_over(path)), allow_nan=False).encode())
    values = json.loads(text)
    index = TarIndex(
        {name: (offset, size) for name, (offset, size) in values["members"].items()},
        values["samples"],
        tuple((name, reason) for name, reason in values["unreadable"]),
    )
    with _lists_lock:
        _lists[state] = index
        if len(_lists) > _LISTS:
            _lists.popitem(last=False)
    return index


def tar_status(tar: str) -> FoundFile:
    """Size and time of a tar; raises as ``tar_index``."""
    if is_remote(tar):
        return remote_status(tar)
    status = Path(tar).stat()
    if not stat.S_ISREG(status.st_mode):  # a pipe could block
        raise UnreadableImageError(f"{tar}: not a regular file")
    return FoundFile(tar, status.st_size, status.st_mtime_ns)


def members_of(tar: str) -> list[FoundFile]:
    """The pictures of a tar in its order, ready to be read; raises as ``tar_index``."""
    time = tar_status(tar).mtime_ns
    return [
        FoundFile(f"{tar}/{name}", size, time, offset)
        for name, (offset, size) in tar_index(tar).members.items()
    ]


def member_bytes(found: FoundFile) -> bytes:
    """The bytes of a member at its place, where its name and size are still written before them.

    Raises UnreadableImageError where they are not, since the tar has changed, and FileNotFoundError.
    """
    parts = split_member(found.path)
    if parts is None or found.offset is None:
        raise FileNotFoundError(f"{found.path}: no such file")
    tar, name = parts
    with _opened(tar) as file:
        file.seek(found.offset - _BLOCK)
        data = file.read(_BLOCK + found.size)
    if not _begins(data[:_BLOCK], name, found.size):
        raise UnreadableImageError(f"{found.path}: {tar} has changed meanwhile; index it again")
    return whole(data[_BLOCK:], found.size, found.path)


def _state(path: str) -> tuple[object, ...]:
    """What is another when the tar is; on disk with the time of its change, which can't be set back."""
    found = tar_status(path)
    changed = 0 if is_remote(path) else Path(path).stat().st_ctime_ns
    return path, found.size, found.mtime_ns, changed


@contextmanager
def _opened(tar: str) -> Iterator[Any]:
    if is_remote(tar):
        with opened_object(tar) as file:
            yield file
        return
    try:
        with Path(tar).open("rb") as file:
            yield file
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UnreadableImageError(f"{tar}: the file cannot be read: {error.strerror or error}") from error


def _begins(block: bytes, name: str, size: int) -> bool:
    """Whether a tar's header is that of this member; long names are cut in it, those beyond ASCII altered."""
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    written = _plain(header.name)
    return header.size == size and (
        written == name or len(name) >= tarfile.LENGTH_NAME - 2 or not name.isascii()
    )


# --- the list of a tar ----------------------------------------------------------------------------


def _pass_over(tar: str) -> TarIndex:
    members: dict[str, tuple[int, int]] = {}
    texts: dict[str, dict[str, bytes]] = {}  # key -> suffix -> content
    unreadable: list[tuple[str, str]] = []
    with _opened(tar) as raw:
        file = io.BufferedReader(raw, _BUFFER) if is_remote(tar) else raw
        try:
            for member, content in _entries(file):
                name = _plain(member.name)
                key, suffix = _key_and_suffix(name)
                if content is not None:
                    texts.setdefault(key, {})[suffix] = content
                elif reason := _unfit(member, name):
                    unreadable.append((name.encode(errors="replace").decode(), reason))
                else:
                    members[name] = member.offset_data, member.size
        except tarfile.TarError as error:
            if not members:
                raise UnreadableImageError(
                    f"{tar}: it can't be read as a tar without compression: {first_line(error)}"
                ) from error
            unreadable.append(
                ("", "it ends in the middle or is damaged, so members may be missing; copy it again")
            )
        for name in _beyond_the_end(members, file):
            del members[name]
            unreadable.append((name, "the tar ends before the picture is complete; copy it again"))
    samples = {key: _metadata(key, of_key, unreadable) for key, of_key in texts.items()}
    return TarIndex(members, {key: values for key, values in samples.items() if values}, tuple(unreadable))


def _entries(file: Any) -> Iterator[tuple[tarfile.TarInfo, bytes | None]]:
    """Files of a tar that are pictures (None), and the contents of those that describe them.

    Raises tarfile.TarError where the tar goes on with what is no header.
    """
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            name = _plain(member.name)
            if not member.isfile() or _is_hidden(name):
                continue
            suffix = _key_and_suffix(name)[1]
            if suffix == "json" or suffix in _TEXTS:
                if member.size <= _MOST_VALUES and (content := tar.extractfile(member)) is not None:
                    yield member, content.read()
            elif PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES:
                yield member, None
        file.seek(tar.offset)
        if any(file.read(_BLOCK)):
            raise tarfile.ReadError("what follows a member is no header")


def _plain(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name


def _is_hidden(name: str) -> bool:
    parts = name.split("/")
    return any((part[:1] == "." and part != "..") or part in SYSTEM_FOLDERS for part in parts)


def _key_and_suffix(name: str) -> tuple[str, str]:
    """The key of a sample, and what follows its first dot: of a/1.Seg.png a/1 and seg.png."""
    folder, slash, last = name.rpartition("/")
    key, _, suffix = last.partition(".")
    return f"{folder}{slash}{key}", suffix.lower()


def _unfit(member: tarfile.TarInfo, name: str) -> str | None:
    if member.issparse():
        return "it is stored with holes; store it as a plain file"
    try:
        name.encode()
    except UnicodeEncodeError:
        return "its name is not valid UTF-8; rename it"
    return odd_name(name)


def _beyond_the_end(members: Mapping[str, tuple[int, int]], file: Any) -> list[str]:
    end = file.seek(0, io.SEEK_END)
    return [name for name, (offset, size) in members.items() if offset + size > end]


def _metadata(key: str, texts: Mapping[str, bytes], unreadable: list[tuple[str, str]]) -> dict[str, Any]:
    """Fields of a sample; what can't be understood is appended to ``unreadable``."""
    values: dict[str, Any] = {}
    if "json" in texts:
        try:
            found = json.loads(texts["json"], parse_constant=_refused)
            json.dumps(found, ensure_ascii=False).encode()  # halves of a character are not stored
            values |= found if isinstance(found, dict) else {"json": found}
        except (ValueError, RecursionError) as error:
            unreadable.append(
                (f"{key}.json", f"it is no JSON ({first_line(error)}); the picture has no fields of it")
            )
    for suffix, name in _TEXTS.items():
        if suffix in texts and (text := texts[suffix].decode(errors="replace").strip()):
            values[name] = text
    return values


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")
