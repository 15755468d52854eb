import pytest

from lookalike.datasets.jsons import box_of_corners, box_of_size, finite_numbers, read_json
from lookalike.errors import DatasetError


@pytest.mark.parametrize("content", ["{", "[" * 200_000])
def test_a_damaged_file_is_named(tmp_path, content):
    file = tmp_path / "x.json"
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(
        DatasetError, match=r"x\.json is not (JSON: .*; download it again|UTF-8 in line 1; save)"
    ):
        read_json(file)


def test_another_encoding_is_named(tmp_path):
    (tmp_path / "x.json").write_bytes(b'{\n"a": "\xff"}')
    with pytest.raises(DatasetError, match=r"x\.json is not UTF-8 in line 2; save it as UTF-8"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_left_out(tmp_path, encoding):
    (tmp_path / "x.json").write_text('{"a": 1}', encoding=encoding)
    assert read_json(tmp_path / "x.json") == {"a": 1}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"x\.json can't be read: No such file"):
        read_json(tmp_path / "x.json")


def test_numbers_may_be_texts():
    assert finite_numbers(["1", 2, "3.5"], 3, "x") == (1, 2, 3.5)


@pytest.mark.parametrize(
    "value", [None, 3, [1], "12", [1, "b"], [1, float("nan")], [1, float("inf")], [1, [2]]]
)
def test_what_is_not_so_many_finite_numbers_is_refused(value):
    with pytest.raises(DatasetError, match=r"^the size is not 2 numbers, but "):
        finite_numbers(value, 2, "the size")


def test_a_box_of_a_size_ends_at_left_plus_width_and_top_plus_height():
    assert box_of_size((2, 3, 10, 20.5), "x") == (2, 3, 12, 23.5) == box_of_corners((2, 3, 12, 23.5), "x")


@pytest.mark.parametrize("size", [(2, 3, 0, 4), (2, 3, 4, -1)])
def test_an_empty_box_is_refused(size):
    with pytest.raises(DatasetError, match="x is empty: left 2, top 3"):
        box_of_size(size, "x")
