"""Images named by a list, and lists as text files."""

from __future__ import annotations

import logging
import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.texts import cleaned, read_lines
from lookalike.errors import DatasetError

_logger = logging.getLogger(__name__)


def listed_images(rows: Iterable[tuple[Path, str]], source: Path) -> LabeledImages:
    """Make labeled images of pairs (path, label); what is listed twice is taken once, and that is logged.

    Raises DatasetError for no images, missing files, and an image with two labels.
    """
    pairs = [(existing_form(path), label) for path, label in rows]
    if not pairs:
        raise DatasetError(f"{source} lists no images; check that it is complete")
    if missing := [path for path, _ in pairs if not path.is_file()]:
        raise DatasetError(
            f"{len(missing)} of {len(pairs)} images listed in {source} are missing, e.g. {missing[0]}; "
            "check the folder of the images"
        )
    labels: dict[str, tuple[Path, str]] = {}
    for path, label in pairs:
        _, first = labels.setdefault(os.path.normpath(path), (path, label))
        if first != label:
            raise DatasetError(
                f"{source} lists {path} twice, as {first!r} and as {label!r}; decide on one label"
            )
    if n := len(pairs) - len(labels):
        _logger.warning("%s lists %d images more than once; each is taken once", source, n)
    return LabeledImages(tuple(p for p, _ in labels.values()), tuple(label for _, label in labels.values()))


def existing_form(path: Path) -> Path:
    """The path, or the one that exists if it is written with backslashes or in another Unicode form."""
    if path.is_file():
        return path
    for text in (str(path), str(path).replace("\\", "/")):
        for form in ("NFC", "NFD"):
            if (other := Path(unicodedata.normalize(form, text))).is_file():
                return other
    return path


def fields_of_lines(file: Path, n: int, *, header: bool = False) -> Iterator[list[str]]:
    """Yield the n fields of each line of a text file, separated by white space; the last may contain some,
    and so may all if they are separated by tabs.

    Raises DatasetError for a line with fewer fields, naming it, and for a file that can't be read.
    """
    for number, line in enumerate(read_lines(file)[header:], start=1 + header):
        if not line:
            continue
        by_tab = line.split("\t")
        fields = [cleaned(f) for f in by_tab] if len(by_tab) == n else line.split(maxsplit=n - 1)
        if len(fields) < n:
            raise DatasetError(f"line {number} of {file} has {len(fields)} fields instead of {n}: {line!r}")
        yield fields
