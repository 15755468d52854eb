"""Rows with a picture each, from what other libraries hold them in; none of these libraries is imported.

Known are a Dataset of Hugging Face, a pandas DataFrame, a torch Dataset or DataLoader, tar files of
WebDataset and a WebDataset pipeline.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lookalike.errors import DatasetError, first_line
from lookalike.images import ImageSource
from lookalike.images.limits import default_limits

_IMAGE_COLUMNS = ("image", "img", "picture", "path", "file", "filename", "file_name", "filepath")
_LABEL_COLUMNS = ("label", "class", "cls", "category")
_SUFFIXES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "avif", "heic")
_LABEL_SUFFIXES = ("cls", "label", "txt")


@dataclass(frozen=True)
class PictureRow:
    """One row: a picture, the name by which it is found again, its label and what else is known."""

    picture: ImageSource  # a path is a file that stays where it is
    name: str  # stable, such as ``shard.tar#key.jpg``; empty: the content is its name
    label: str | None = None
    values: Mapping[str, Any] = field(default_factory=dict)  # plain values of other columns


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; None is found by the usual names."""

    image: str | None = None
    label: str | None = None
    name: str | None = None
    root: Path | None = None  # folder of relative paths


def open_rows(data: Any, columns: Columns) -> Iterator[PictureRow]:
    """The rows of a source. Raises DatasetError for a source or column that is not understood."""
    return _reader(data)(data, columns)


def _reader(data: Any) -> Callable[[Any, Columns], Iterator[PictureRow]]:
    if _is_tar(data) or (isinstance(data, list | tuple) and data and all(_is_tar(each) for each in data)):
        return _tar_rows
    if isinstance(data, Mapping):
        splits = ", ".join(map(str, data))
        raise DatasetError(f"this holds several splits ({splits}); give one, such as data['train']")
    if hasattr(data, "cast_column") and hasattr(data, "features"):
        return _dataset_rows
    if hasattr(data, "iloc") and hasattr(data, "columns"):
        return _frame_rows
    if hasattr(data, "dataset") and hasattr(data, "batch_size"):  # a DataLoader: batches are of no use
        return lambda loader, columns: open_rows(loader.dataset, columns)
    if hasattr(data, "pipeline") and hasattr(data, "__iter__"):  # before torch's: it is a torch Dataset too
        return _sample_rows
    if (
        hasattr(data, "__getitem__")
        and hasattr(data, "__len__")
        and not isinstance(data, str | bytes | Sequence)
    ):
        return _indexed_rows
    raise DatasetError(
        "rows come from a Dataset of datasets, a DataFrame, a torch Dataset or DataLoader, .tar files or a "
        f"WebDataset; got {type(data).__name__}"
    )


def _is_tar(data: Any) -> bool:
    return isinstance(data, str | Path) and Path(data).suffix == ".tar"


# --- one reader for each kind -----------------------------------------------------------------


def _dataset_rows(data: Any, columns: Columns) -> Iterator[PictureRow]:
    features = dict(data.features)
    of_images = [name for name, feature in features.items() if type(feature).__name__ == "Image"]
    image = columns.image or (of_images[0] if of_images else _found(features, _IMAGE_COLUMNS, "image"))
    label = columns.label or _found(features, _LABEL_COLUMNS, "")
    _check(features, image, label, columns.name)
    if image in of_images:
        data = data.cast_column(image, type(features[image])(decode=False))  # the file's own bytes
    in_words = getattr(features.get(label), "int2str", str)
    for row in data:
        yield _row_of(row, image, label, columns, in_words)


def _frame_rows(data: Any, columns: Columns) -> Iterator[PictureRow]:
    names = list(data.columns)
    image = columns.image or _found(names, _IMAGE_COLUMNS, "image")
    label = columns.label or _found(names, _LABEL_COLUMNS, "")
    _check(names, image, label, columns.name)
    for row in data.to_dict("records"):
        yield _row_of(row, image, label, columns, str)


def _indexed_rows(data: Any, columns: Columns) -> Iterator[PictureRow]:
    classes = getattr(data, "classes", None)
    in_words: Callable[[Any], str] = str
    if isinstance(classes, list | tuple):
        in_words = lambda code: str(classes[code]) if isinstance(code, int) else str(code)  # noqa: E731
    samples = getattr(data, "samples", None)
    if (
        isinstance(samples, list) and samples and isinstance(samples[0][0], str | Path)
    ):  # torchvision's folders
        for path, code in samples:
            yield PictureRow(Path(path), "", in_words(code))
        return
    for i in range(len(data)):
        row = data[i]
        if isinstance(row, Mapping):
            image = columns.image or _found(row, _IMAGE_COLUMNS, "image")
            yield _row_of(row, image, columns.label or _found(row, _LABEL_COLUMNS, ""), columns, in_words)
            continue
        picture, *rest = row if isinstance(row, tuple | list) else (row,)
        code = rest[0] if rest else None
        code = _plain(code)
        yield PictureRow(picture, "", None if code is None else in_words(code))


def _sample_rows(data: Iterable[Any], columns: Columns) -> Iterator[PictureRow]:
    for sample in data:
        if not isinstance(sample, Mapping) or "__key__" not in sample:
            raise DatasetError(
                "a WebDataset pipeline gives dicts with __key__; leave out to_tuple and batched, got "
                f"{type(sample).__name__}"
            )
        yield _of_sample(sample, columns)


def _tar_rows(data: Any, columns: Columns) -> Iterator[PictureRow]:
    for file in [data] if isinstance(data, str | Path) else data:
        for sample in _samples_of(Path(file)):
            yield _of_sample(sample, columns)


def _samples_of(file: Path) -> Iterator[dict[str, Any]]:
    """Samples of a tar: members with one key, up to the first dot of their name, follow each other."""
    most = default_limits().max_bytes
    sample: dict[str, Any] = {}
    try:
        with tarfile.open(file) as tar:
            for member in tar:
                folder, _, name = member.name.rpartition("/")
                key, _, suffix = name.partition(".")
                key = f"{folder}/{key}" if folder else key
                if not member.isfile() or not suffix or member.size > most:
                    continue
                if sample and sample["__key__"] != key:
                    yield sample
                    sample = {}
                content = tar.extractfile(member)
                assert content is not None
                sample |= {"__key__": key, "__url__": str(file), suffix.lower(): content.read()}
    except (OSError, tarfile.TarError) as error:
        raise DatasetError(f"{file} can't be read as a tar file: {first_line(error)}") from error
    if sample:
        yield sample


# --- one row ----------------------------------------------------------------------------------


def _of_sample(sample: Mapping[str, Any], columns: Columns) -> PictureRow:
    key, shard = str(sample["__key__"]), Path(str(sample.get("__url__", "webdataset"))).name
    suffix = columns.image or next((name for name in sample if name.lower() in _SUFFIXES), None)
    if suffix is None or suffix not in sample:
        kinds = ", ".join(name for name in sample if not name.startswith("__"))
        raise DatasetError(f"sample {shard}#{key} has no picture; it has {kinds}")
    label = columns.label or next((name for name in _LABEL_SUFFIXES if name in sample), None)
    value = sample.get(label) if label else None
    if isinstance(value, bytes):
        value = value.decode(errors="replace").strip()
    name = f"{shard}#{key}.{suffix}"
    return PictureRow(sample[suffix], name, None if value is None else str(value))


def _row_of(
    row: Mapping[str, Any], image: str, label: str, columns: Columns, in_words: Callable[[Any], str]
) -> PictureRow:
    picture, name = row[image], str(row[columns.name]) if columns.name else ""
    if isinstance(picture, Mapping) and {"bytes", "path"} & set(picture):  # an undecoded Image of datasets
        path, data = picture.get("path"), picture.get("bytes")
        name = name or (Path(path).name if path and data else "")
        picture = data or path
    if isinstance(picture, str):
        picture = (columns.root or Path()) / picture
    if picture is None or (isinstance(picture, float) and picture != picture):
        raise DatasetError(f"column {image!r} is empty in a row; leave such rows out")
    code = row.get(label) if label else None
    others = {key: _plain(value) for key, value in row.items() if key not in (image, label)}
    values = {str(key): value for key, value in others.items() if value is not None}
    return PictureRow(picture, name, None if code is None else in_words(_plain(code)), values)


def _plain(value: Any) -> Any:
    """A value that JSON has; None for others, and for what is not a number."""
    value = value.item() if hasattr(value, "item") and getattr(value, "ndim", 0) == 0 else value
    if isinstance(value, float) and value != value:
        return None
    return value if isinstance(value, str | int | float | bool) else None


def _found(names: Iterable[str], usual: Sequence[str], what: str) -> str:
    """The first usual column that is there; for an image there must be one."""
    there = list(names)
    for name in usual:
        if name in there:
            return name
    if what:
        raise DatasetError(
            f"none of the columns {', '.join(map(str, there))} is called {usual[0]}; name the one with the "
            f"pictures by {what}="
        )
    return ""


def _check(there: Iterable[str], *wanted: str | None) -> None:
    names = list(there)
    for name in wanted:
        if name and name not in names:
            raise DatasetError(f"there is no column {name!r}; the columns are {', '.join(map(str, names))}")
