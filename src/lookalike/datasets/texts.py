"""Text from files: byte order marks, line ends and blanks that nobody sees; labels as text."""

from __future__ import annotations

import codecs
import os
import select
import time
import unicodedata
from pathlib import Path

import numpy as np

from lookalike.errors import DatasetError

_MARKS = (  # UTF-32 first: its mark begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
)
_WAITING_SECONDS = 10.0  # for a program that writes to a named pipe
_UNSEEN = "\ufeff\u200b\u200e\u200f"  # marks without width


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, or in the encoding that its byte order mark tells.

    Raises DatasetError for a missing file and for another encoding, naming the line.
    """
    try:
        if path.is_char_device() or path.is_block_device():  # may never end
            raise DatasetError(f"{path} is a device; name a text file")
        data = _read_pipe(path) if path.is_fifo() else path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise DatasetError(f"{path} can't be read: {reason}; check the path") from error
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DatasetError(f"{path} is not {encoding.upper()} in line {line}; save it as UTF-8") from error
    if "\0" in text:
        raise DatasetError(f"{path} holds NUL characters, as UTF-16 without a mark does; save it as UTF-8")
    return text


def _read_pipe(path: Path) -> bytes:
    """What comes through a pipe; DatasetError if no program opens it for writing within ten seconds."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb", buffering=0) as pipe:
        ends = time.monotonic() + _WAITING_SECONDS
        # Nothing comes at once: b"" without a writer, None with one, for which this waits.
        while (first := pipe.read(1)) == b"" and not select.select([pipe], [], [], 0.05)[0]:
            if time.monotonic() > ends:
                raise DatasetError(
                    f"{path} is a pipe to which no program writes; start that one first, or name a file"
                )
        if first is None:
            select.select([pipe], [], [])
        os.set_blocking(pipe.fileno(), True)
        return (first or b"") + pipe.read()


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file, cleaned; empty ones at its end are left out. Raises as ``read_text``."""
    lines = [cleaned(line) for line in read_text(path).replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def cleaned(text: str) -> str:
    """Return the text without blanks and invisible marks at both ends.

    >>> cleaned(" cat\\u00a0\\ufeff")
    'cat'
    """
    before = ""
    while before != text:
        before, text = text, text.strip().strip(_UNSEEN)
    return text


def label_text(value: object) -> str:
    """Return a label as text, the same for what is the same label; empty for None and NaN.

    Texts are cleaned and composed (NFC). 7, 7.0 and "7" are one label, "007" is another.

    >>> [label_text(value) for value in (7, 7.0, np.int64(7), " 7 ", "007", True, None)]
    ['7', '7', '7', '7', '007', 'true', '']
    """
    if isinstance(value, np.generic) or (hasattr(value, "item") and getattr(value, "ndim", 1) == 0):
        value = value.item()  # of an array or a tensor
    if value is None or value != value:  # the latter is NaN
        return ""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return unicodedata.normalize("NFC", cleaned(str(value)))
