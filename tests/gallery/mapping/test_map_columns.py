"""Columns of a map: the most frequent values as categories, many numbers as numbers."""

import numpy as np

from lookalike.gallery.mapping.columns import map_column
from lookalike.store import Copy, Record


def records_with(*values):
    return [
        Record(f"{i:020x}", f"/{i}", "0", 1, 1, {} if value is None else {"field": value})
        for i, value in enumerate(values)
    ]


def test_the_most_frequent_values_have_codes_and_the_rest_is_others():
    values = [text for i, text in enumerate("abcdefghi") for _ in range(9 - i)]
    found = map_column([*records_with(*values), *records_with(None, "")], "field")
    assert found.kind == "category" and "".join(found.values) == "abcdefg"
    assert found.counts == [9, 8, 7, 6, 5, 4, 3]
    assert found.codes.tolist() == [min("abcdefghi".index(text), 7) for text in values] + [-1, -1]


def test_a_picture_of_several_tags_counts_for_each_and_has_the_code_of_the_most_frequent():
    found = map_column(records_with(["red", "old"], ["old"], "old", ["red"], [], ["x", {"a": 1}]), "field")
    assert list(found.values) == ["old", "red", "x", '{"a": 1}']
    assert found.counts == [3, 2, 1, 1] and found.codes.tolist() == [0, 0, 0, 1, -1, 2]


def test_few_numbers_are_categories_in_their_order_and_many_are_numbers():
    few = map_column(records_with(10, 2, 10, True, None), "field")
    assert few.kind == "category"
    years = map_column(records_with(2001, 1999, 1999), "field")
    assert list(years.values) == ["1999", "2001"] and years.codes.tolist() == [1, 0, 0]
    many = map_column(records_with(*range(8), 0.5, None), "field")
    assert many.kind == "number" and not len(many.codes)
    np.testing.assert_array_equal(many.numbers, [*range(8), 0.5, np.nan])
    assert many.to_dict()["numbers"][-1] is None


def test_values_of_copies_count_once_for_the_picture():
    copies = (Copy("/b", 1, {"field": "y"}), Copy("/c", 1, {"field": "x"}))
    record = Record("0" * 20, "/a", "0", 1, 1, {"field": "x"}, copies)
    assert map_column([record], "field").counts == [1, 1]
