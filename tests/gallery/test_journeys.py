"""How often a file is decoded and the network run on the ways that people take: counted by spies."""

import numpy as np
import pytest
from PIL import Image

import lookalike
from lookalike.gallery import Gallery


@pytest.fixture(params=[False, True], ids=["shares from files", "shares kept"])
def gallery(request, tmp_path, mini, room_files):
    made = Gallery.create(tmp_path / "rooms.gallery", mini, keep_shares=request.param)
    made.add(room_files[0], workers=0)
    return made


SPLIT = 2  # runs to split one image by shares: of both references, and its own


@pytest.fixture(autouse=True, scope="module")
def checked(mini, room_files):
    """A model's first explanation compares its runs with a plain one."""
    lookalike.explain(*room_files[1][:2], model=mini)


def keeps_shares(gallery):
    return gallery._manifest.keep_shares


def test_explaining_a_pair_decodes_each_file_once(counts, mini, room_files):
    why = lookalike.explain(room_files[1][0], room_files[1][1], model=mini)
    lookalike.render.side_by_side(why)
    assert counts.take() == (2, 2 * SPLIT)


@pytest.mark.parametrize("method", ["gradcam", "shares"])
def test_every_method_decodes_each_file_once(counts, mini, room_files, method):
    lookalike.explain(room_files[1][0], room_files[1][1], model=mini, method=method)
    assert counts.take()[0] == 2


def test_a_difference_and_matching_cells_decode_each_file_once(counts, mini, room_files):
    lookalike.difference(*room_files[1][:3], model=mini)
    assert counts.take() == (3, 3)
    lookalike.place_matches(*room_files[1][:2], model=mini)
    assert counts.take() == (2, 2)


@pytest.mark.parametrize("explain", [False, True])
def test_a_search_sees_the_query_once_and_each_reason_one_file_more(counts, gallery, room_files, explain):
    counts.take()
    hits = gallery.search(room_files[1][3], k=5, explain=explain)
    assert counts.take() == (1, 1)
    for hit in hits:
        lookalike.render.side_by_side(hit.why())
    assert counts.take() == (5, 0 if keeps_shares(gallery) else 6 * SPLIT)


def test_a_search_by_a_box_sees_the_whole_and_the_part(counts, gallery, room_files):
    counts.take()
    hits = gallery.search(room_files[1][3], k=3, box=(20, 10, 120, 90), explain=True)
    assert counts.take() == (1, 1)  # whole and part are one batch
    hits[0].why()
    assert counts.take() == (1, 0 if keeps_shares(gallery) else 1)


def test_a_record_as_query_is_read_only_to_explain(counts, gallery):
    record = gallery.records()[2]
    counts.take()
    hits = gallery.search(record.id, k=2)
    assert counts.take() == (0, 0)
    hits[0].why()
    assert counts.take() == (2, 1 if keeps_shares(gallery) else 2 * SPLIT)


def test_the_reason_of_a_hit_has_the_similarity_of_the_hit(gallery, room_files):
    for hit in gallery.search(room_files[1][3], k=3):
        why = hit.why()
        assert why.similarity == pytest.approx(hit.similarity, abs=1e-6)
        assert abs(why.residual) < 1e-5 and abs(why.match_residual) < 1e-3


def test_a_large_jpeg_has_one_embedding_whether_it_is_indexed_or_drawn(tmp_path, mini, rng_photo):
    file = tmp_path / "large.jpg"
    rng_photo.save(file, quality=90)
    gallery = Gallery.create(tmp_path / "g", mini)
    gallery.add(tmp_path / "large.jpg", workers=0)
    (hit,) = gallery.search(file)
    assert hit.similarity > 0.9995
    assert hit.why().similarity == pytest.approx(hit.similarity, abs=1e-6)


@pytest.fixture
def rng_photo():
    """2,600 x 1,900 pixels of colored noise at several scales, so that decoding at 1/8 matters."""
    rng = np.random.default_rng(0)
    size, image = (2600, 1900), np.zeros((1900, 2600, 3), np.float32)
    for cells in (4, 30, 300):
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells + 3, 3), np.uint8))
        image += np.asarray(noise.resize(size, Image.Resampling.BICUBIC), np.float32) / 3
    return Image.fromarray(image.astype(np.uint8))
