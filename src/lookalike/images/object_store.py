"""Files at ``s3://``, in any store with the S3 interface: their size and time, their bytes, and their lists.

Endpoint, region and keys come from the environment, as for galleries; nothing of them is in a message.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookalike.errors import StoreUnreachableError, UnreadableImageError

if TYPE_CHECKING:
    from pyarrow import fs

_SCHEME = "s3://"
_AT_ONCE = 16  # requests for sizes and times
_ASKED = 10_000  # files whose sizes wait at once
_CONNECT_SECONDS, _ANSWER_SECONDS = 5.0, 30.0
_REFUSED = re.compile(
    r"ACCESS_DENIED|FORBIDDEN|INVALID_ACCESS_KEY|SIGNATURE|TOKEN|HTTP (?:status|Response Code:) 40[13]", re.I
)
_NO_ANSWER = re.compile(
    r"NETWORK_CONNECTION|TIMEOUT|UNAVAILABLE|SLOW_DOWN|INTERNAL_FAILURE|curlCode|HTTP status 5", re.I
)


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that was looked at: nothing has to be asked again before it is read."""

    path: str
    size: int  # bytes
    mtime_ns: int  # nanoseconds since 1970; of a tar's member, that of the tar
    offset: int | None = None  # of a tar's member: where its bytes begin in the tar


def is_remote(path: object) -> bool:
    """Whether a path is one at ``s3://``, also as ``Path`` writes it (``s3:/bucket/key``)."""
    return isinstance(path, str | Path) and str(path).startswith("s3:/")


def remote_uri(path: str | Path) -> str:
    """The URI of a path at ``s3://``, which ``Path`` may have taken a slash from.

    >>> remote_uri(Path("s3://photos/rooms/1.jpg"))
    's3://photos/rooms/1.jpg'
    """
    text = str(path)
    return text if text.startswith(_SCHEME) else _SCHEME + text.removeprefix("s3:/")


def path_text(path: str | Path) -> str:
    """A path as text: at ``s3://`` its URI, on disk as it is."""
    return remote_uri(path) if is_remote(path) else str(path)


def remote_status(uri: str) -> FoundFile:
    """Size and time of an object. Raises FileNotFoundError; UnreadableImageError where it can't be told."""
    with _in_words(uri):
        info = _filesystem(_bucket(uri)).get_file_info(_location(uri))
    if not info.is_file:
        raise FileNotFoundError(f"{uri}: no such object")
    return FoundFile(uri, info.size, info.mtime_ns)


def remote_statuses(uris: Iterable[str]) -> dict[str, FoundFile]:
    """Sizes and times of many objects at once; those that can't be told are left out.

    Raises StoreUnreachableError.
    """

    def status(uri: str) -> FoundFile | None:
        try:
            return remote_status(uri)
        except StoreUnreachableError:
            raise
        except (FileNotFoundError, UnreadableImageError):
            return None

    found: dict[str, FoundFile] = {}
    remaining = iter(uris)
    with ThreadPoolExecutor(_AT_ONCE, "statuses") as threads:
        while part := list(islice(remaining, _ASKED)):
            found |= {each.path: each for each in threads.map(status, part) if each is not None}
    return found


@contextmanager
def opened_object(uri: str) -> Iterator[Any]:
    """An object as a ``pyarrow.NativeFile``, to be read at any place; raises as ``remote_status``."""
    with _in_words(uri), _filesystem(_bucket(uri)).open_input_file(_location(uri)) as file:
        yield file


def list_objects(uri: str) -> list[FoundFile] | None:
    """All objects below a prefix, as if it were a folder, in the order of their keys; None if there is none.

    Raises UnreadableImageError for a bucket that is not there or may not be listed.
    """
    from pyarrow import fs

    location = _location(uri).rstrip("/")
    with _in_words(uri):
        try:
            selector = fs.FileSelector(location, recursive=True)
            found = _filesystem(_bucket(uri)).get_file_info(selector)
        except FileNotFoundError:
            return None
    files = [FoundFile(_SCHEME + info.path, info.size, info.mtime_ns) for info in found if info.is_file]
    return sorted(files, key=lambda file: file.path) or None


def odd_name(path: str) -> str | None:
    """Why a key, or a name in a tar, can't be the name of a picture, which must be a path; None if it can."""
    if any(part in ("", ".", "..") for part in path.removeprefix(_SCHEME).split("/")):
        return "a part of its name is empty or made of dots; rename it"
    return None


def _bucket(uri: str) -> str:
    return uri.removeprefix(_SCHEME).partition("/")[0]


def _location(uri: str) -> str:
    """Bucket and key. Raises UnreadableImageError for a URI that is none, or that holds keys of access."""
    bucket, _, key = uri.removeprefix(_SCHEME).partition("/")
    if "@" in bucket or ":" in bucket:
        raise UnreadableImageError(
            "a URI holds no keys, since it is written to the gallery: set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_SKIP_SIGNATURE=true for a public bucket"
        )
    if not bucket:
        raise UnreadableImageError(f"{uri!r} names no bucket; write s3://BUCKET/PREFIX")
    return f"{bucket}/{key}" if key else bucket


def _filesystem(bucket: str) -> fs.S3FileSystem:
    """The store by the environment; without an endpoint and a region, Amazon says where the bucket lies."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    is_anonymous = os.environ.get("AWS_SKIP_SIGNATURE", "").lower() in ("1", "true", "yes")
    return _connected(
        "" if region or endpoint else bucket, endpoint.rstrip("/") or None, region, is_anonymous
    )


@cache
def _connected(bucket: str, endpoint: str | None, region: str | None, is_anonymous: bool) -> fs.S3FileSystem:
    from pyarrow import fs

    return fs.S3FileSystem(
        region=fs.resolve_s3_region(bucket) if bucket else region,
        endpoint_override=endpoint,
        anonymous=is_anonymous,
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_ANSWER_SECONDS,
    )


@contextmanager
def _in_words(uri: str) -> Iterator[None]:
    """Turn what the store says into one sentence; of its own words only the name of the error is quoted."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{uri}: no such object") from error
    except OSError as error:
        if _NO_ANSWER.search(str(error)):
            raise StoreUnreachableError(
                f"{uri}: the store can't be reached; check the connection and AWS_ENDPOINT_URL, and try again"
            ) from error
        raise UnreadableImageError(f"{uri}: {_cause(str(error), uri)}") from error


def _cause(text: str, uri: str) -> str:
    if "NO_SUCH_BUCKET" in text or "ucket not found" in text:
        return f"there is no bucket {_bucket(uri)!r}; check its name and AWS_ENDPOINT_URL"
    if _REFUSED.search(text):
        return (
            "the store refuses access; check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY and what they may "
            "do, or set AWS_SKIP_SIGNATURE=true for a public bucket"
        )
    name = re.search(r"AWS Error (\w+)", text)
    return f"the store has no answer for it ({name[1] if name else 'no reason given'}); check its name"
