import numpy as np
import pytest

from lookalike.scenes import gallery_of_rooms, room_pair

SIZE = (60, 83)


@pytest.mark.parametrize("seed", range(6))
def test_a_pair_shares_exactly_one_painting(seed):
    first, second, shared = room_pair(seed, size=SIZE)
    assert set(first.paintings) & set(second.paintings) == {shared}
    assert first.seed != second.seed


@pytest.mark.parametrize("seed", range(6))
def test_the_shared_painting_is_seen_well_in_both_rooms(seed):
    first, second, shared = room_pair(seed, size=SIZE)
    assert min(first.masks[shared].mean(), second.masks[shared].mean()) >= 0.04


def test_pairs_are_determined_by_their_seed():
    one, two = room_pair(9, size=SIZE), room_pair(9, size=SIZE)
    assert one[0].image.tobytes() == two[0].image.tobytes()
    assert one[1].image.tobytes() == two[1].image.tobytes()
    assert one[2] == two[2]


def test_rooms_of_a_gallery_share_a_painting_exactly_if_their_labels_agree():
    gallery = gallery_of_rooms(1, n_paintings=4, rooms_per_painting=3, size=SIZE)
    shown = [set(made.paintings) for made in gallery.rooms]
    shares = np.array([[bool(a & b) for a in shown] for b in shown])
    labels = np.array(gallery.labels)
    assert (shares == (labels[:, None] == labels[None])).all()


def test_every_room_of_a_gallery_knows_its_matches():
    gallery = gallery_of_rooms(1, n_paintings=4, rooms_per_painting=3, size=SIZE)
    assert all(len(gallery.matches(i)) == 2 and i not in gallery.matches(i) for i in range(12))
    assert all(gallery.labels[j] == gallery.labels[5] for j in gallery.matches(5))


def test_an_empty_gallery_is_refused():
    with pytest.raises(ValueError, match="at least 1, got"):
        gallery_of_rooms(1, n_paintings=0, rooms_per_painting=3)
