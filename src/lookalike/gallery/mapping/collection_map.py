"""The map of a gallery, and its table for other programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from lookalike.errors import LookalikeError, replacing
from lookalike.gallery.mapping.layouts import LayoutName
from lookalike.ops.neighbors import nearest
from lookalike.store import Record
from lookalike.types import FloatArray, ProgressCallback, tracked

_BLOCK = 1024  # rows whose neighbors are found at once
_RESERVED = ("id", "path", "x", "y", "cluster", "neighbors")


@dataclass(frozen=True)
class MapCluster:
    """A cluster of a map."""

    number: int  # from 0, the largest first
    size: int  # pictures
    title: str  # "field: value" where one value of the metadata dominates, else "cluster 1", ...
    typical: tuple[str, ...]  # ids, the medoid first


@final
@dataclass(frozen=True)
class CollectionMap:
    """Where each picture of a gallery stands; see ``Gallery.map``. Row i of every field is one picture."""

    layout: LayoutName
    seed: int
    key: str  # fingerprint of what the rows are: other after any change of the gallery's pictures
    records: Sequence[Record]  # in the order of their ids
    points: FloatArray  # (G, 2) float32
    clusters: NDArray[np.int32]  # (G,); -1: in none
    groups: Sequence[MapCluster]
    vectors: FloatArray  # (G, D) float32, unit length
    n_later: int  # pictures placed since the layout was made

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"CollectionMap({self.layout}, {len(self)} pictures, {len(self.groups)} clusters)"

    @property
    def remark(self) -> str:
        """A sentence where more than half of the pictures were placed after the layout was made; or ""."""
        if 2 * self.n_later <= len(self):
            return ""
        return (
            f"{self.n_later:,} of {len(self):,} pictures were placed after the layout was made; make it "
            "again (--again) for one that fits all"
        )

    @cached_property
    def fields(self) -> list[str]:
        """Names of the metadata fields, sorted."""
        return sorted({name for record in self.records for file in record.files for name in file.metadata})

    def neighbors(
        self, k: int = 10, *, progress: ProgressCallback | None = None
    ) -> tuple[NDArray[np.int64], FloatArray]:
        """Return rows (G, K) of the k nearest others and their distances, 1 - cosine, nearest first."""
        k = min(k, len(self) - 1)
        if k < 1:
            return np.empty((len(self), 0), np.int64), np.empty((len(self), 0), np.float32)
        gallery, rows, distances = torch.from_numpy(self.vectors), [], []
        starts = range(0, len(self), _BLOCK)
        for start in tracked(starts, "finding neighbors", len(starts), progress):
            cosines, found = nearest(gallery[start : start + _BLOCK], gallery, k + 1)
            is_own = found == torch.arange(start, start + len(found))[:, None]
            is_own[:, -1] |= ~is_own.any(1)  # among more doubles than k: the last one goes
            rows.append(found[~is_own].reshape(-1, k).numpy())
            distances.append((1 - cosines[~is_own].reshape(-1, k)).clamp(min=0).numpy())
        return np.concatenate(rows), np.concatenate(distances)

    def to_dict(self) -> dict[str, Any]:
        """Return the map as JSON types, with a point for each picture."""
        return {
            "layout": self.layout,
            "seed": self.seed,
            "remark": self.remark,
            "clusters": [
                {"number": g.number, "size": g.size, "title": g.title, "typical": list(g.typical)}
                for g in self.groups
            ],
            "pictures": [
                {
                    "id": record.id, "path": record.path, "x": x, "y": y, "cluster": cluster,
                    "metadata": dict(record.metadata),
                }
                for record, (x, y), cluster in zip(
                    self.records, self.points.tolist(), self.clusters.tolist(), strict=True
                )
            ],
        }  # fmt: skip

    def write_parquet(
        self, file: str | Path, *, neighbors: int = 10, progress: ProgressCallback | None = None
    ) -> None:
        """Write a Parquet table: id, path, x, y, cluster, the metadata, and neighbors.

        ``neighbors`` is a struct of ``ids`` (row numbers from 0) and ``distances`` (1 - cosine), nearest
        first, as Embedding Atlas reads it. A column of values of several types holds texts. Raises
        LookalikeError if the file can't be written.
        """
        rows, distances = self.neighbors(neighbors, progress=progress)
        kind = pa.struct({"ids": pa.list_(pa.int64()), "distances": pa.list_(pa.float32())})
        nested = pa.StructArray.from_arrays([_lists(rows), _lists(distances)], fields=list(kind))
        columns = {
            "id": pa.array([record.id for record in self.records], pa.string()),
            "path": pa.array([record.path for record in self.records], pa.string()),
            "x": pa.array(self.points[:, 0]),
            "y": pa.array(self.points[:, 1]),
            "cluster": pa.array(self.clusters),
            **{_column(name): _values([r.metadata.get(name) for r in self.records]) for name in self.fields},
            "neighbors": nested,
        }
        with replacing(file, LookalikeError, make_folder=True) as beside:
            pq.write_table(pa.table(columns), beside)

    def to_csv(self, rows: Sequence[int] | None = None, *, with_folders: bool = True) -> str:
        """Return the pictures, or some rows of them, as CSV: id, path, x, y, cluster, then the metadata.

        Without folders, ``path`` is the name of the file. A text that a spreadsheet would compute is quoted.
        """
        return "".join(self.csv_lines(rows, with_folders=with_folders))

    def csv_lines(self, rows: Sequence[int] | None = None, *, with_folders: bool = True) -> list[str]:
        """Return the lines of ``to_csv``, the names of the columns first; a line may hold line breaks."""
        lines = [_csv_line([*_RESERVED[:5], *map(_column, self.fields)])]
        for row in range(len(self)) if rows is None else rows:
            record, (x, y) = self.records[row], self.points[row].tolist()
            path = record.path if with_folders else Path(record.path).name
            values = [_cell(record.metadata.get(name)) for name in self.fields]
            place = f"{x:.6g}", f"{y:.6g}", str(self.clusters[row])
            lines.append(_csv_line([record.id, _cell(path), *place, *values]))
        return lines


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _lists(matrix: NDArray[Any]) -> pa.Array:
    n, k = matrix.shape
    offsets = pa.array(np.arange(n + 1, dtype=np.int32) * np.int32(k))
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(matrix).reshape(-1)))


def _column(name: str) -> str:
    """The column of a metadata field; another name where the map has one of its own."""
    return f"metadata_{name}" if name in _RESERVED else name


def _values(values: Sequence[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if (len(kinds) == 1 and kinds <= {str, int, float, bool}) or kinds == {int, float}:
        try:
            return pa.array([float(v) if kinds == {int, float} and v is not None else v for v in values])
        except (pa.ArrowInvalid, OverflowError):  # a number beyond 64 bits
            pass
    return pa.array([None if v is None else v if isinstance(v, str) else json.dumps(v) for v in values],
                    pa.string())  # fmt: skip


def _cell(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value)
    return f"'{text}" if isinstance(value, str) and text[:1] in "=+-@\t\r" and text else text


def rows_by(labels: NDArray[np.int32]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each cluster's number with its rows; pictures of none are left out."""
    for number in range(int(labels.max(initial=-1)) + 1):
        yield number, np.flatnonzero(labels == number)
