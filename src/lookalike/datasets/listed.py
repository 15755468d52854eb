"""Images named by a list, and lists as text files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from lookalike.datasets.labeled import LabeledImages
from lookalike.errors import DatasetError


def listed_images(rows: Iterable[tuple[Path, str]], source: Path) -> LabeledImages:
    """Make labeled images of pairs (path, label). Raises DatasetError for no images and missing files."""
    pairs = list(rows)
    if not pairs:
        raise DatasetError(f"{source} lists no images; check that it is complete")
    if missing := [path for path, _ in pairs if not path.is_file()]:
        raise DatasetError(
            f"{len(missing)} of {len(pairs)} images listed in {source} are missing, e.g. {missing[0]}; "
            "check the folder of the images"
        )
    return LabeledImages(tuple(path for path, _ in pairs), tuple(label for _, label in pairs))


def fields_of_lines(file: Path, n: int, *, header: bool = False) -> Iterator[list[str]]:
    """Yield the n fields of each line of a text file, separated by white space; the last may contain some.

    Raises DatasetError for a line with fewer fields, naming it, and for a file that can't be read.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file} can't be read: {error}; check the dataset") from error
    for number, line in enumerate(lines[header:], start=1 + header):
        if not line.strip():
            continue
        fields = line.strip().split(maxsplit=n - 1)
        if len(fields) < n:
            raise DatasetError(f"line {number} of {file} has {len(fields)} fields instead of {n}: {line!r}")
        yield fields
