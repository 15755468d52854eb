"""Records in memory are those of the rows, whichever way they are asked for."""

import numpy as np
import pyarrow as pa
import pytest

from lookalike.store import Copy, Record, record_id
from lookalike.store.fast_columns import fast_column
from lookalike.store.lance_rows import RecordRows, counts_of, paths_of, record_rows


def made(number, **changes):
    digest = f"{number:02x}" * 32
    values = {
        "id": record_id(digest),
        "path": f"/ä/{number}.jpg",
        "hash": digest,
        "size": number,
        "mtime_ns": 9,
    }
    return Record(**{**values, **changes})


RECORDS = [
    made(1),
    made(2, path="", metadata={"label": "Käse", "tags": ["a", None]}),
    made(3, copies=(Copy("/c.jpg", 5),)),
    made(4, metadata={"a": 1}, copies=(Copy("/d.jpg", 6, {"a": 2}), Copy("/e.jpg", 7, {"a": 1}))),
    made(5, size=2**40),
]


@pytest.mark.parametrize("cuts", [(), (2,), (0, 3, 3, 5)])
def test_records_are_those_of_the_rows(cuts):
    whole = record_rows(RECORDS)
    ends = [*cuts, len(RECORDS)]
    parts = [whole.slice(start, end - start) for start, end in zip([0, *ends], ends, strict=False)]
    records = RecordRows(pa.concat_tables(parts))
    assert list(records) == RECORDS and len(records) == len(RECORDS)
    assert [records[i] for i in (-1, 0, 3)] == [RECORDS[i] for i in (-1, 0, 3)]
    assert records.taken([4, 1, 1, 2]) == [RECORDS[i] for i in (4, 1, 1, 2)]
    assert records.taken([0, 4]) == [RECORDS[0], RECORDS[4]] and records[1:4] == RECORDS[1:4]
    assert records.ids.to_pylist() == [record.id for record in RECORDS]
    with pytest.raises(IndexError, match="item 5 of 5"):
        records[5]


@pytest.mark.parametrize("cuts", [(), (2,), (0, 3, 3, 5)])
@pytest.mark.parametrize("piece", [1, 2, 8192])
def test_paths_and_counts_are_those_of_the_records(cuts, piece, monkeypatch):
    monkeypatch.setattr("lookalike.store.lance_rows._PIECE", piece)
    whole = record_rows([made(0), *RECORDS])[1:]  # a slice, whose lists begin later
    ends = [*cuts, len(RECORDS)]
    parts = [whole.slice(start, end - start) for start, end in zip([0, *ends], ends, strict=False)]
    records = RecordRows(pa.concat_tables(parts))
    expected = [(row, file.path) for row, record in enumerate(RECORDS) for file in record.files]
    assert sorted(paths_of(records)) == sorted(paths_of(RECORDS)) == sorted(expected)
    assert counts_of(records) == counts_of(RECORDS) == (8, {"label": 1, "tags": 1, "a": 1})
    assert counts_of(RecordRows(record_rows(()))) == (0, {}) and not list(
        paths_of(RecordRows(record_rows(())))
    )


def test_no_two_records_share_their_metadata():
    first, second = RecordRows(record_rows([made(1), made(2)])).taken([0, 1])
    first.metadata["label"] = "changed"
    assert second.metadata == {}


def test_rows_with_missing_values_and_no_rows_are_read():
    rows = record_rows([made(1), made(2)])
    without = rows.set_column(6, "copies", pa.array([None, None], rows.schema.field("copies").type))
    assert RecordRows(without).taken([1]) == [made(2)] and counts_of(RecordRows(without)) == (2, {})
    assert list(paths_of(RecordRows(without))) == [(0, made(1).path), (1, made(2).path)]
    unknown = rows.set_column(4, "mtime_ns", pa.array([None, 9], pa.int64()))
    assert RecordRows(unknown).taken([1]) == [made(2)]
    assert list(RecordRows(record_rows(()))) == [] and RecordRows(record_rows(())).taken([]) == []


def test_a_column_in_pieces_is_read_over_all_of_them():
    """Texts of more than 2 GB stay in several arrays."""
    column = fast_column(pa.chunked_array([["a"], ["b", "c"]]))
    assert column.take(np.array([2, 0, 1])) == ["c", "a", "b"]
