"""Searches with examples: the query moves as Rocchio says, and its similarities still split exactly."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.errors import UnsupportedMethodError


def unit(gallery, id):
    return torch.from_numpy(gallery.embedding(id))


def test_the_query_moves_by_three_quarters_of_the_liked_and_against_the_disliked(indexed):
    ids = [record.id for record in indexed.records()][:5]
    hits = indexed.search(ids[0], k=12, liked=ids[1:3], disliked=ids[3:5])
    liked, disliked = (sum(unit(indexed, id) for id in pair) / 2 for pair in (ids[1:3], ids[3:5]))
    moved = F.normalize(unit(indexed, ids[0]) + 0.75 * liked - 0.15 * disliked, dim=0)
    for hit in hits:
        assert hit.similarity == pytest.approx(float(moved @ unit(indexed, hit.id)), abs=1e-6)


@pytest.mark.parametrize("box", [None, (20, 10, 130, 100)])
def test_maps_sum_to_the_similarity_and_say_what_the_examples_gave(indexed, room_files, box):
    liked, disliked = (record.id for record in indexed.records()[6:8])
    hits = indexed.search(room_files[1][2], k=3, box=box, liked=[liked], disliked=[disliked], explain=True)
    for hit in hits:
        why = hit.why()
        parts = dict(why.query.residual_parts)
        assert why.similarity == pytest.approx(hit.similarity, abs=1e-5)
        assert float(why.query_map.sum()) + sum(parts.values()) == pytest.approx(hit.similarity, abs=1e-5)
        given = 0.75 * float(unit(indexed, liked) @ unit(indexed, hit.id))
        length = _length(indexed, room_files, box, liked, disliked)
        assert parts["1 liked"] == pytest.approx(given / length, abs=1e-5)
        assert_close(torch.tensor(hit.query_map), torch.tensor(why.query_map), atol=1e-6, rtol=1e-4)


def _length(gallery, room_files, box, liked, disliked):
    plain = gallery.search(room_files[1][2], k=1, box=box).query.unit
    return float((plain + 0.75 * unit(gallery, liked) - 0.15 * unit(gallery, disliked)).norm())


def test_without_examples_nothing_changes(indexed, room_files):
    assert indexed.search(room_files[1][2], k=3, liked=[], disliked=[]) == indexed.search(
        room_files[1][2], k=3
    )


def test_heat_maps_of_single_images_are_refused(indexed, room_files):
    hit = indexed.search(room_files[1][2], k=1, liked=[indexed.records()[0].id])[0]
    with pytest.raises(UnsupportedMethodError, match="query without examples"):
        hit.why("gradcam")
