"""Rows of other libraries as pictures that are embedded, indexed, evaluated and learned from.

Galleries and reports show pictures later, so each needs a file. Rows that name files leave them where they
are; pictures in memory or inside a tar are written to a folder under a name that stays.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, final

from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.row_sources import Columns, PictureRow, open_rows
from lookalike.errors import DatasetError, LookalikeError, replacing
from lookalike.images import ImageSource, load

_LONGEST = 180  # characters of a file's name


@final
class PictureRows:
    """Pictures with labels and values, from ``datasets``, pandas, torch or WebDataset.

    ``data`` is a Dataset of Hugging Face, a DataFrame, a torch Dataset or DataLoader (whose dataset is
    read, without batches), one or more ``.tar`` files, or a WebDataset pipeline. ``image``, ``label`` and
    ``name`` are columns, by default the usual ones; ``root`` is the folder of relative paths. ``folder``
    gets the pictures that are no files: as ``shard.tar#key.jpg`` from a tar, under their own name from a
    Dataset, and else under the hash of their content, so that a second run writes nothing new. Iterating
    gives the files, as ``Gallery.add`` takes them.

    >>> import pandas
    >>> frame = pandas.DataFrame({"path": ["a.jpg", "b.jpg"], "label": ["cat", "dog"], "year": [1, 2]})
    >>> rows = PictureRows(frame)
    >>> [path.name for path in rows], rows.labeled_images().labels, rows.metadata(Path("b.jpg"))
    (['a.jpg', 'b.jpg'], ('cat', 'dog'), {'year': 2, 'label': 'dog'})
    """

    def __init__(
        self,
        data: Any,
        *,
        image: str | None = None,
        label: str | None = None,
        name: str | None = None,
        root: str | Path | None = None,
        folder: str | Path | None = None,
    ) -> None:
        self._data = data
        self._columns = Columns(image, label, name, None if root is None else Path(root))
        self._folder = None if folder is None else Path(folder)

    def pictures(self) -> Iterator[ImageSource]:
        """The pictures one after the other, to be embedded: nothing is written."""
        for row in open_rows(self._data, self._columns):
            yield row.picture

    def __iter__(self) -> Iterator[Path]:
        return iter([path for path, _ in self._stored])

    def __len__(self) -> int:
        return len(self._stored)

    def metadata(self, path: Path) -> dict[str, Any]:
        """What is known of a file: the values of its row, its label, and its name as ``source``."""
        row = self._by_path.get(str(path.absolute()))
        if row is None:
            return {}
        label = {} if row.label is None else {"label": row.label}
        return {**row.values, **label, **({"source": row.name} if row.name else {})}

    def labeled_images(self) -> LabeledImages:
        """Files and labels, for ``evaluate`` and ``fit``. Raises DatasetError where a label is missing."""
        labels = [row.label for _, row in self._stored]
        if None in labels:
            raise DatasetError(
                f"row {labels.index(None) + 1} has no label; name the column by label=, or leave the row out"
            )
        return LabeledImages(tuple(path for path, _ in self._stored), tuple(str(label) for label in labels))

    @cached_property
    def _stored(self) -> list[tuple[Path, PictureRow]]:
        """All rows with the file of each; a row with a known file is listed twice."""
        stored: list[tuple[Path, PictureRow]] = []
        contents: dict[str, str] = {}  # written in this pass: name, hash
        for number, row in enumerate(open_rows(self._data, self._columns), 1):
            if isinstance(row.picture, str | Path):
                stored.append((Path(row.picture), row))
                continue
            if self._folder is None:
                raise DatasetError(
                    f"row {number} holds its picture in memory, and what is found is shown from files later; "
                    "give PictureRows a folder= to write such pictures to"
                )
            data, suffix = _encoded(row.picture, number)
            digest = hashlib.sha256(data).hexdigest()
            name = _file_name(row.name, digest, suffix)
            if contents.setdefault(name, digest) != digest:
                raise DatasetError(
                    f"two rows are called {name!r} and hold different pictures; give them names by name="
                )
            stored.append((_written(self._folder / name, data), row))
        if not stored:
            raise DatasetError("there are no rows, so there are no pictures")
        return stored

    @cached_property
    def _by_path(self) -> Mapping[str, PictureRow]:
        return {str(path.absolute()): row for path, row in self._stored}


def _encoded(picture: ImageSource, number: int) -> tuple[bytes, str]:
    """A picture as the bytes of a file: those that it had, else PNG, which loses nothing."""
    if isinstance(picture, bytes | bytearray | memoryview):
        return bytes(picture), _suffix_of(bytes(picture[:12]))
    try:
        image = load(picture).image
    except (LookalikeError, ValueError, TypeError) as error:
        raise DatasetError(
            f"row {number} is no picture that can be shown: {error}; give the dataset without transforms of "
            "its colors"
        ) from error
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue(), ".png"


def _suffix_of(start: bytes) -> str:
    for sign, suffix in ((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"BM", ".bmp")):
        if start.startswith(sign):
            return suffix
    return ".webp" if start[8:12] == b"WEBP" else ".img"


def _file_name(name: str, digest: str, suffix: str) -> str:
    """A name for one folder: without separators, and with the suffix of what is in it."""
    if not name:
        return f"{digest[:20]}{suffix}"
    plain = re.sub(r"[\\/:\x00-\x1f]+", "_", name).lstrip(".") or digest[:20]
    if suffix != ".img" and not re.search(r"\.[A-Za-z]{3,4}$", plain):
        plain += suffix
    if suffix == ".png" and not plain.lower().endswith(".png"):
        plain = f"{plain}.png"  # was decoded by whoever gave it
    return plain if len(plain) <= _LONGEST else f"{digest[:20]}-{plain[-(_LONGEST - 21) :]}"


def _written(path: Path, data: bytes) -> Path:
    """The file with this content; left untouched where it has it, so that nothing is indexed again."""
    try:
        if path.stat().st_size == len(data) and path.read_bytes() == data:
            return path
    except OSError:
        pass
    with replacing(path, make_folder=True) as beside:
        beside.write_bytes(data)
    return path
