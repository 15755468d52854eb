"""Lists of results as Arrow tables: hits, groups, decisions, metrics, records with their embeddings."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import feather, parquet

from lookalike.errors import LookalikeError, replacing
from lookalike.evaluation import Evaluation
from lookalike.gallery import Gallery
from lookalike.gallery.cases import CaseFile

_SUFFIXES = (".parquet", ".arrow", ".feather")


def arrow_table(results: Any) -> Any:
    """A list of results as a ``pyarrow.Table``, one row for each, for pandas, polars, DuckDB and Spark.

    ``results`` are the hits of a search, groups, search regions, a case (its decisions), an evaluation (its
    metrics), a gallery (its records with column ``embedding``), or any list of what has ``to_dict``. A field
    NAME of metadata is the column ``metadata.NAME``; what is nested otherwise is JSON as text. Raises
    ValueError for anything else.

    >>> arrow_table([{"name": "a.jpg", "metadata": {"year": 1990}}]).column_names
    ['name', 'metadata.year']
    """
    if isinstance(results, Gallery):
        return _of_gallery(results)
    if isinstance(results, Evaluation):
        results = results.metrics
    if isinstance(results, CaseFile):
        results = results.decisions()
    if isinstance(results, str | bytes) or not isinstance(results, Iterable):
        raise ValueError(f"a table is made of a list of results, got {type(results).__name__}")
    return _table([_flat(_as_dict(result)) for result in results])


def write_table(results: Any, path: str | Path) -> None:
    """Write ``arrow_table`` of results to a ``.parquet`` file, or ``.arrow`` or ``.feather``.

    Raises ValueError for another suffix, LookalikeError where the file can't be written.
    """
    target = Path(path)
    if target.suffix not in _SUFFIXES:
        raise ValueError(f"tables are written to {', '.join(_SUFFIXES)}; got {target.name!r}")
    table = arrow_table(results)
    with replacing(target) as beside:
        if target.suffix == ".parquet":
            parquet.write_table(table, str(beside))
        else:
            feather.write_feather(table, str(beside))


def _of_gallery(gallery: Gallery) -> Any:
    records = list(gallery.records())
    table = _table([_flat(_as_dict(record)) for record in records])
    if not records:
        return table
    embeddings = np.stack([gallery.embedding(record.id) for record in records]).astype(np.float32)  # (G, D)
    column = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), embeddings.shape[1])
    return table.append_column("embedding", column)


def _as_dict(result: Any) -> Mapping[str, Any]:
    if isinstance(result, Mapping):
        return result
    if hasattr(result, "to_dict"):
        found: Mapping[str, Any] = result.to_dict()
        return found
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return dataclasses.asdict(result)
    raise ValueError(f"a row is made of what has to_dict, got {type(result).__name__}")


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if name == "metadata" and isinstance(value, Mapping):
            flat |= {f"metadata.{field}": _cell(each) for field, each in value.items()}
        else:
            flat[name] = _cell(value)
    return flat


def _cell(value: Any) -> Any:
    """A plain value, or a list of texts, as it is; anything nested as JSON."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple) and all(isinstance(each, str) for each in value):
        return list(value)
    return json.dumps(value, default=str)


def _table(rows: list[dict[str, Any]]) -> Any:
    """Columns in the order of their first mention; one of mixed types becomes text."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        try:
            columns[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            columns[name] = pa.array([None if value is None else str(value) for value in values])
    try:
        return pa.table(columns)
    except pa.ArrowInvalid as error:
        raise LookalikeError(f"the results make no table: {error}") from error
