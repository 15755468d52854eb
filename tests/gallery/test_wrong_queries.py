"""Arguments of a search that can't be meant: one sentence each, and never an answer."""

import copy
import pickle

import numpy as np
import pytest

from lookalike.errors import FilterError, GalleryError, UnknownNameError, UnreadableImageError
from lookalike.gallery import Gallery, SearchResult


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"k": 0}, "k must be a whole number of 1 or more; got 0"),
        ({"k": 2.5}, "got 2.5"),
        ({"k": True}, "got True"),
        ({"k": "3"}, "got '3'"),
        ({"shortlist": 0}, "shortlist must be"),
        ({"box": "40,30,180,120"}, "four numbers, left, top, right, bottom"),
        ({"box": (1, 2, 3)}, "four numbers"),
        ({"box": ("a", 1, 2, 3)}, "four numbers"),
        ({"box": (0, 0, float("nan"), 9)}, "four numbers"),
        ({"polygon": [0, 0, 10, 0, 10, 10]}, "corners"),
        ({"polygon": [(0, 0), (float("nan"), 1), (5, 5)]}, "corners"),
        ({"polygon": "x"}, "corners"),
        ({"box": (0, 0, 9, 9), "polygon": [(0, 0), (9, 0), (9, 9)]}, "leave one out"),
        ({"rerank": 3}, "name or a function"),
    ],
)
def test_numbers_and_regions_are_checked(indexed, room_files, arguments, words):
    with pytest.raises(ValueError, match=words):
        indexed.search(room_files[1][0], **arguments)


@pytest.mark.parametrize("query", [None, 3, [], ()])
def test_what_is_no_query_is_refused(indexed, query):
    with pytest.raises(ValueError, match=r"a query must be an image|a search needs an image"):
        indexed.search(query)


def test_unknown_names_are_refused_with_what_there_is(indexed, room_files):
    with pytest.raises(FilterError, match="unknown"):
        indexed.search(room_files[1][0], where={"unknown": 1})
    with pytest.raises(UnknownNameError, match="k-reciprocal"):
        indexed.search(room_files[1][0], rerank="magic")
    with pytest.raises(GalleryError, match="no image 'x'"):
        indexed.embedding("x")


@pytest.mark.parametrize("folder", ["not-there/", ""])
def test_a_path_that_is_not_there_is_an_error_and_not_an_empty_report(mini, folder):
    with pytest.raises(UnreadableImageError, match="no such file or folder"):
        Gallery.in_memory(mini).add(folder)


def test_one_embedding_as_it_comes_is_a_query(indexed, mini, room_files):
    unit = mini.embed(room_files[1][3])  # (1, D)
    by_row, by_vector = indexed.search(unit, k=3), indexed.search(unit[0].numpy(), k=3)
    assert [hit.id for hit in by_row] == [hit.id for hit in by_vector]
    assert by_row[0].similarity == pytest.approx(1, abs=1e-5)
    assert mini.similarity(unit[0], np.asarray(unit)).item() == pytest.approx(1, abs=1e-6)


def test_hits_are_copied_and_pickled(indexed, room_files):
    result = indexed.search(room_files[1][3], k=3)
    hit = result[0]
    assert copy.copy(hit).why().similarity == copy.deepcopy(hit).why().similarity
    stored = pickle.loads(pickle.dumps(hit))
    assert stored == hit and hash(stored) == hash(hit)
    with pytest.raises(GalleryError, match="search again"):
        stored.why()
    assert pickle.loads(pickle.dumps(result)) == list(result) and copy.deepcopy(result).query is result.query
    first = result[:2]
    assert isinstance(first, SearchResult) and first == list(result)[:2] and len(first.to_dict()["hits"]) == 2
