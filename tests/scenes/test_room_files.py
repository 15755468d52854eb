"""Rooms in a folder are read back as pairs with their exact masks."""

import numpy as np

from lookalike.datasets.pairs import mask_of, read_pairs
from lookalike.scenes import room_pair, write_room_pairs


def test_written_rooms_are_pairs_with_the_masks_of_the_shared_painting(tmp_path):
    folder = write_room_pairs(tmp_path / "rooms", 2, seed=3, size=(48, 64))
    pairs = read_pairs(folder, limit=2)
    assert len(pairs) == 2
    first = next(pair for pair in pairs if pair.query.path.name.startswith("0000"))
    query, match, painting = room_pair(300_000, size=(48, 64))
    for known, room in ((first.query, query), (first.match, match)):
        np.testing.assert_array_equal(mask_of(known, (48, 64)), room.masks[painting])
    assert first.query.label == first.match.label
    assert pairs[0].query.label != pairs[1].query.label
