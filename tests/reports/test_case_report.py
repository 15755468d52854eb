"""The report of a case: what was decided first, with hashes and notes that can do no harm."""

import re

import pytest

from lookalike.gallery import Gallery
from lookalike.reports.case import case_report, pair_explanation
from lookalike.scenes import gallery_of_rooms
from made_rooms import save_rooms
from made_walls import detailed, wall_of


@pytest.fixture
def gallery(mini, tmp_path):
    folder = tmp_path / "rooms"
    folder.mkdir()
    save_rooms(gallery_of_rooms(3, n_paintings=3, rooms_per_painting=2, size=(90, 120)), folder)
    made = Gallery.create(tmp_path / "rooms.gallery", mini)
    made.add(folder, workers=0)
    return made


@pytest.fixture
def decided(gallery):
    """A case with two regions of one photograph, and the pairs of both."""
    case = gallery.case("wall")
    file = gallery.records()[0].path
    pairs = [case.add(gallery.search(file, k=3, box=box), file) for box in ((5, 5, 70, 60), None)]
    case.decide(pairs[0][2], "different", who="bert")
    case.decide(pairs[0][0], "same", who="anna", note="<script>alert(1)</script> crack", tags=["frame"])
    case.decide(pairs[1][1], "unsure")
    return case, pairs


def test_decided_pairs_come_first_with_hashes_people_and_the_model(gallery, decided):
    case, pairs = decided
    html = case_report(case, gallery)
    order = re.findall(r'class="(?:verdict |short )?(same|unsure|different|undecided)">', html)
    assert order == ["unsure", "same", "different", "undecided", "undecided", "undecided"]
    for pair in (*pairs[0], *pairs[1]):
        assert pair.hit.sha256 in html and pair.query.sha256 in html
    assert gallery.embedder.fingerprint() in html
    assert "anna, bert" in html and "#frame" in html and "box 5, 5, 70, 60" in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt; crack" in html and "<script" not in html
    assert "3 of 6 pairs decided: 1 same, 1 unsure, 1 different." in html
    assert html.count("data:image/webp") == 2 + 3 * 3  # each query or region, and three for each pair


def test_pictures_are_bounded_in_number(gallery, decided):
    html = case_report(decided[0], gallery, most=1)
    assert html.count("data:image/webp") == 4
    assert "2 further decided pairs, and the undecided" in html


def test_maps_are_of_the_similarity_that_was_seen(gallery, decided):
    case, pairs = decided
    for pair in (pairs[0][0], pairs[1][1]):
        assert pair_explanation(pair, case, gallery).similarity == pytest.approx(pair.similarity, abs=2e-4)
    liked = [pairs[0][2].hit.id]
    hits = gallery.search(pairs[0][0].query.path, k=6, liked=liked)
    moved = case.add(hits, pairs[0][0].query.path, parameters={"examples": {"liked": liked}})
    moved = next(pair for pair in moved if pair.verdict is None)
    assert pair_explanation(moved, case, gallery).similarity == pytest.approx(moved.similarity, abs=2e-4)


def test_a_file_that_is_gone_is_said_and_the_rest_is_written(gallery, decided):
    case, pairs = decided
    gallery.remove(pairs[0][0].hit.id)
    html = case_report(case, gallery)
    assert "the gallery has no image" in html
    assert pairs[0][0].hit.sha256 in html


def test_another_history_has_another_hash(gallery, decided):
    case, pairs = decided
    hashes = [re.search(r"events, SHA-256 (\w{64})", case_report(case, gallery, most=1))[1]]
    case.decide(pairs[0][1], "same")
    case.undo()
    hashes.append(re.search(r"events, SHA-256 (\w{64})", case_report(case, gallery, most=1))[1])
    assert hashes[0] != hashes[1]


def test_pairs_found_by_geometry_have_the_points_that_agree(mini, tmp_path):
    pytest.importorskip("cv2")
    (tmp_path / "paintings").mkdir()
    for seed in range(3):
        detailed(seed).save(tmp_path / "paintings" / f"{seed}.png")
    gallery = Gallery.create(tmp_path / "paintings.gallery", mini)
    gallery.add(tmp_path / "paintings", workers=0)
    wall, boxes = wall_of([detailed(1), detailed(5)], [1, 0])
    wall.save(tmp_path / "wall.png")
    case = gallery.case("wall")
    hits = gallery.search(tmp_path / "wall.png", box=boxes[0], k=3, rerank="geometry")
    pairs = case.add(hits, tmp_path / "wall.png", parameters={"k": 3, "rerank": "geometry"})
    case.decide(pairs[0], "same")
    case.decide(pairs[2], "different")  # nothing agrees, so there is nothing to draw
    assert hits[0].path.name == "1.png" and hits[0].verification.n_inliers > 60
    html = case_report(case, gallery)
    assert html.count("lines between the points that agree") == 1
    assert html.count("data:image/webp") == 1 + 3 + 1 + 3
    first, second = html.split('<article class="pair">')[1:]
    assert "1.png" in first and "lines between the points" in first and "lines between" not in second
