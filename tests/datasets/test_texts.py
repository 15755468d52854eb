"""Text is text: marks, blanks, codes, numbers and dates mean the same in every table and list."""

import json
import os
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from lookalike.datasets.arrays import read_labels
from lookalike.datasets.listed import fields_of_lines
from lookalike.datasets.tables import read_table
from lookalike.datasets.texts import label_text, read_lines, read_text
from lookalike.errors import DatasetError, LookalikeError, UnknownNameError
from lookalike.evaluation import evaluate

TEXT = "path,code\na.png,007\nb.png,7\n"


def table(path, text, encoding="utf-8", **options):
    path.write_bytes(text.encode(encoding))
    return read_table(path, **options)


def column(path, *cells, **options):
    lines = "\n".join(["x,y", *(f"{cell},1" for cell in cells)])
    return [row["x"] for row in table(path / "t.csv", lines, **options).rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_same_table_is_read_from_every_encoding_line_end_and_separator(
    tmp_path, encoding, ends, separator
):
    found = table(tmp_path / "t.csv", TEXT.replace("\n", ends).replace(",", separator), encoding)
    assert found.columns == ("path", "code") and [row["code"] for row in found.rows] == ["007", "7"]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["007", "12"], ["007", "12"]),  # one code makes the column text
        (["12", "7", "", "-3", "0"], [12, 7, None, -3, 0]),
        (["12E4", "120000"], ["12E4", "120000"]),
        (["1.5", "2"], [1.5, 2]),
        (["1.50", "2.25"], ["1.50", "2.25"]),
        (["5", "NA"], ["5", "NA"]),  # Namibia, or a missing number: not guessed
        (["2019-05-01", "2020-01-01"], ["2019-05-01", "2020-01-01"]),
        (["2019-05-01 10:00:00"], ["2019-05-01 10:00:00"]),
        (["9007199254740993"], ["9007199254740993"]),  # not a double
        (["nan", "inf"], ["nan", "inf"]),
        (["1_000", "٣"], ["1_000", "٣"]),
        (["true", "false"], [True, False]),
        (["TRUE", "1"], ["TRUE", "1"]),
        (["1", "1.0"], ["1", "1.0"]),  # two codes, one number
        (["1.0", "2.0", "2.0"], [1.0, 2.0, 2.0]),
        (['"a, b"', ' "c"'], ["a, b", "c"]),  # a blank before the quote
        (["-0", "+5"], ["-0", "+5"]),
        ([" cat ", "cat\u00a0", "\ufeffcat"], ["cat", "cat", "cat"]),
    ],
)
def test_types_are_inferred_only_where_the_text_comes_back(tmp_path, cells, expected):
    found = column(tmp_path, *cells)
    assert found == expected and list(map(type, found)) == list(map(type, expected))


@pytest.mark.parametrize(
    ("cell", "type"),
    [("1_000", "integer"), ("1_0", "number"), ("inf", "number"), ('"1_0,5"', "decimal-comma")],
)
def test_a_stated_number_is_written_as_numbers_are(tmp_path, cell, type):
    with pytest.raises(DatasetError, match=f"which is no {type}"):
        column(tmp_path, cell, types={"x": type})


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.xlsx", b"PK\x03\x04\x14\0\xff\xfe", "is an Excel workbook"),
        ("t.csv", b"\x1f\x8b\x08\0", "is compressed by gzip"),
        ("t.jsonl", b'{"path": "a.png", "code": "007"}\n', "is JSON"),
        ("t.csv", b"Path,PATH,code\na,b,1\n", "'Path' beside a column of that name in another case"),
    ],
)
def test_what_is_no_table_says_what_it_is(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_table(tmp_path / name, as_text=("path",))


def test_parquet_is_recognized_whatever_its_name(tmp_path):
    pq.write_table(pa.table({"path": ["a.png"], "code": ["007"]}), tmp_path / "t.pq")
    assert read_table(tmp_path / "t.pq").rows == ({"path": "a.png", "code": "007"},)


def test_types_may_be_stated(tmp_path):
    assert column(tmp_path, "12", "7", types={"x": "text"}) == ["12", "7"]
    assert column(tmp_path, "5", "NA", "", types={"x": "integer"}) == [5, None, None]
    assert column(tmp_path, '"1.234,50"', '"0,5"', types={"x": "decimal-comma"}) == [1234.5, 0.5]
    with pytest.raises(DatasetError, match=r"row 2 of column 'x' of .* holds 'b', which is no number"):
        column(tmp_path, "1", "b", types={"x": "number"})
    with pytest.raises(UnknownNameError, match="one of x, y; got 'z'"):
        column(tmp_path, "1", types={"z": "text"})
    with pytest.raises(UnknownNameError, match="text, integer, number"):
        column(tmp_path, "1", types={"x": "float"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1\n", "line 2 has 1 cells, but there are 2 columns"),
        ("a,b\n1,2,3\n", "line 2 has 3 cells"),
        ("a,a\n1,2\n", "two columns 'a'"),
        ("a,,b\n1,2,3\n", "column 2 of .* has no name"),
        ('a,b\n"1,2\n', "can't be read as a table"),
        ("", "is empty"),
    ],
)
def test_a_broken_table_is_one_sentence(tmp_path, text, message):
    with pytest.raises(DatasetError, match=message):
        table(tmp_path / "t.csv", text)


def test_excels_habits_are_understood(tmp_path):
    found = table(tmp_path / "t.csv", 'sep=;\r\npath;price;\r\n"a;b.png";1,5;\r\n;;\r\n')
    assert found.columns == ("path", "price") and found.rows == ({"path": "a;b.png", "price": "1,5"},)


def test_another_encoding_is_named_with_its_line(tmp_path):
    (tmp_path / "t.csv").write_bytes("path,who\na.png,Käse\n".encode("cp1252"))
    with pytest.raises(DatasetError, match=r"t\.csv is not UTF-8 in line 2; save it as UTF-8"):
        read_text(tmp_path / "t.csv")
    (tmp_path / "n.txt").write_bytes("cat\n".encode("utf-16-le"))
    with pytest.raises(DatasetError, match="NUL"):
        read_lines(tmp_path / "n.txt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_labels_of_a_text_file_are_the_same_with_and_without_what_nobody_sees(tmp_path, encoding):
    (tmp_path / "l.txt").write_bytes("cat \r\ndog\r\n007\r\n\r\n".encode(encoding))
    assert read_labels(tmp_path / "l.txt") == ("cat", "dog", "007")


def test_a_line_without_a_label_is_named(tmp_path):
    (tmp_path / "l.txt").write_text("cat\n\ndog\n")
    with pytest.raises(LookalikeError, match="no label in row 2"):
        read_labels(tmp_path / "l.txt")


def test_a_line_separator_inside_a_label_is_no_end_of_line(tmp_path):
    (tmp_path / "l.txt").write_text("one\u2028half\ntwo\x0cthree\n")
    assert read_labels(tmp_path / "l.txt") == ("one\u2028half", "two\x0cthree")


def test_fields_separated_by_tabs_may_hold_blanks(tmp_path):
    (tmp_path / "l.txt").write_bytes("my cat.png\tbig cat \n".encode("utf-16"))
    assert list(fields_of_lines(tmp_path / "l.txt", 2)) == [["my cat.png", "big cat"]]


def test_labels_of_int_float_tensor_and_text_are_the_same_labels():
    vectors = np.eye(4)[[0, 0, 1, 1]]
    given = [[7, 7, 8, 8], ["7", "7 ", "8", "8"], np.array([7.0, 7, 8, 8]), torch.tensor([7, 7, 8, 8])]
    for labels in given:
        evaluation = evaluate((vectors, labels), queries=(vectors[:1], ["7"]), clustering=False)
        assert (evaluation.n_queries, evaluation.n_classes) == (1, 2)
    with pytest.raises(DatasetError, match="row 1 of the arrays has no label"):
        evaluate((vectors, ["a", None, "b", "b"]), clustering=False)
    assert label_text("Ka\u0308se") == label_text("K\u00e4se")


def test_byte_strings_of_numpy_are_labels(tmp_path):
    np.save(tmp_path / "l.npy", np.array([b"cat", b"dog"]))
    assert read_labels(tmp_path / "l.npy") == ("cat", "dog")
    assert json.dumps(read_labels(tmp_path / "l.npy")) == '["cat", "dog"]'


def test_a_list_comes_through_a_pipe_whoever_opens_it_first(tmp_path):
    os.mkfifo(tmp_path / "list")
    for _ in range(2):
        writer = threading.Timer(0.1, (tmp_path / "list").write_text, ["path,code\na.png,007\n" * 9000])
        writer.start()
        assert len(read_lines(tmp_path / "list")) == 18_000
        writer.join()
    writer = threading.Timer(0.1, (tmp_path / "list").write_text, [TEXT])
    writer.start()
    assert [row["code"] for row in read_table(tmp_path / "list").rows] == ["007", "7"]


def test_a_pipe_to_which_nobody_writes_is_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "list")
    monkeypatch.setattr("lookalike.datasets.texts._WAITING_SECONDS", 0.1)
    with pytest.raises(DatasetError, match="pipe to which no program writes"):
        read_text(tmp_path / "list")
