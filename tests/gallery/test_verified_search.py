"""Search verified by geometry: evidence in hits, probabilities of boxes, and regions found without a box."""

from contextlib import contextmanager

import numpy as np
import pytest

from lookalike import render
from lookalike.errors import UnsupportedMethodError
from lookalike.gallery import Gallery
from lookalike.gallery.searching_regions import search_by_regions
from lookalike.rerankers.region_proposals import overlap
from made_walls import detailed, wall_of

pytest.importorskip("cv2")


@pytest.fixture(scope="module")
def paintings(mini, tmp_path_factory):
    """A gallery of eight pictures on disk, and a wall with the second and the sixth on it."""
    folder = tmp_path_factory.mktemp("paintings")
    for seed in range(8):
        detailed(seed).save(folder / f"{seed}.png")
    gallery = Gallery.in_memory(mini)
    gallery.add(folder)
    wall, boxes = wall_of([detailed(1), detailed(5)], [1, 0])
    wall.save(folder.parent / "wall.png")
    return gallery, folder.parent / "wall.png", boxes


def test_a_turned_picture_is_found_by_its_box_with_a_probability(paintings):
    gallery, wall, boxes = paintings
    assert gallery.calibration is None
    hits = gallery.search(wall, box=boxes[0], k=3, rerank="geometry")
    assert hits[0].path.name == "1.png"
    assert hits[0].verification.n_inliers > 60 and hits[0].probability > 0.95
    assert all(hit.probability < 0.5 for hit in hits[1:])
    corners = np.array(hits[0].verification.query_outline)
    found = (*corners.min(0), *corners.max(0))
    assert np.abs(np.subtract(found, boxes[0])).max() < 2  # in pixels of the wall
    assert hits[0].to_dict()["geometry"]["inliers"] == hits[0].verification.n_inliers


def test_the_score_is_the_log_odds_of_the_cosine_and_the_inliers(paintings):
    gallery, wall, boxes = paintings
    for hit in gallery.search(wall, box=boxes[1], k=4, rerank="geometry"):
        expected = gallery.match_odds.log_odds(hit.similarity, hit.verification.by_features)
        assert hit.score == pytest.approx(expected, abs=1e-4)
        assert hit.probability == pytest.approx(1 / (1 + np.exp(-expected)), abs=1e-6)


def test_hits_that_were_not_verified_have_no_evidence(paintings):
    gallery, wall, _ = paintings
    hit = gallery.search(wall, k=1)[0]
    assert hit.verification is None and hit.to_dict()["geometry"] is None
    with pytest.raises(UnsupportedMethodError, match='rerank="geometry"'):
        hit.geometry()


def test_the_evidence_is_drawn_on_both_pictures(paintings):
    gallery, wall, boxes = paintings
    hit = gallery.search(wall, box=boxes[0], k=1, rerank="geometry")[0]
    drawn = render.inlier_lines(hit.geometry(), n=12, width=640)
    assert drawn.width == 640
    colors = {color for _, color in drawn.getcolors(drawn.width * drawn.height)}
    assert (0, 214, 120) in colors  # the outline


def test_a_wall_names_every_picture_at_its_place_without_a_box(paintings):
    gallery, wall, boxes = paintings
    found = gallery.search_regions(wall)
    assert {each.hit.path.name for each in found.matches} == {"1.png", "5.png"}
    for each in found.matches:
        planted = boxes[0 if each.hit.path.name == "1.png" else 1]
        assert overlap(each.box, planted) > 0.95
        assert each.to_dict()["is_match"] and each.to_dict()["inliers"] > 60
    drawn = render.outlined(found.picture, [(each.outline, each.hit.path.name) for each in found.matches])
    assert drawn.size == (1200, round(1200 * 500 / 901))


def test_a_wall_with_pictures_that_the_gallery_does_not_have_names_none(paintings, tmp_path):
    gallery, _, _ = paintings
    wall, _ = wall_of([detailed(21), detailed(22)], [0, 3])
    found = gallery.search_regions(wall)
    assert found.matches == ()
    assert all(each.hit.probability < 0.5 for each in found)


def test_what_is_far_down_by_its_embedding_is_found_among_more_images(paintings):
    gallery, wall, boxes = paintings

    class FarDown:
        """The gallery, as if both pictures on the wall came fourth by their embedding."""

        embedder, asked = gallery.embedder, []

        def __len__(self):
            return len(gallery)

        def search(self, query, *, shortlist, **options):
            self.asked.append(shortlist)
            found = gallery.search(query, shortlist=8, **options)
            return [hit for hit in found if shortlist >= 4 or hit.path.name not in ("1.png", "5.png")]

    options = {"boxes": boxes, "limit": 12, "where": None, "leave_self_out": False}
    found = search_by_regions(FarDown(), wall, shortlist=1, **options)
    assert {each.hit.path.name for each in found.matches} == {"1.png", "5.png"}
    assert FarDown.asked == [1, 1, 4, 4]
    FarDown.asked.clear()
    found = search_by_regions(FarDown(), wall, shortlist=4, **options)
    assert len(found.matches) == 2 and FarDown.asked == [4, 4]  # nothing is searched twice without need


def test_given_boxes_are_searched_instead_of_proposed_ones(paintings):
    gallery, wall, boxes = paintings
    found = gallery.search_regions(wall, boxes=[boxes[1]])
    assert found.n_searched == 1
    assert [each.hit.path.name for each in found] == ["5.png"]


def test_others_can_have_the_model_between_the_regions(paintings):
    gallery, wall, boxes = paintings
    held = []

    @contextmanager
    def holding():
        assert not any(held)  # never twice at once
        held.append(True)
        yield
        held[-1] = False

    options = {"limit": 12, "shortlist": 10, "where": None, "leave_self_out": False}
    found = search_by_regions(gallery, wall, boxes=boxes, holding=holding, **options)
    assert len(found.matches) == 2 and len(held) >= 3  # the photograph, and each region


def test_calibration_learns_the_odds_of_geometry_too(paintings):
    gallery, wall, boxes = paintings
    default = gallery.match_odds
    gallery.calibrate(count=8)
    learned = gallery.match_odds
    assert learned != default and learned.per_inlier > 0 and learned.n_positive >= 5
    hits = gallery.search(wall, box=boxes[0], k=2, rerank="geometry", min_probability=0.5)
    assert [hit.path.name for hit in hits] == ["1.png"]


def test_a_smooth_picture_is_compared_by_cells_that_raise_no_odds(mini, tmp_path):
    y, x = np.mgrid[0:150, 0:210]
    for i, (a, b) in enumerate([(1, 0), (0, 1), (1, 1), (-1, 1)]):
        value = 128 + 90 * np.sin((a * x + b * y) / 40 + i)
        pixels = np.stack([value, 255 - value, value / 2], axis=-1).astype(np.uint8)
        from PIL import Image

        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    gallery = Gallery.in_memory(mini)
    gallery.add(tmp_path)
    hit = gallery.search(tmp_path / "2.png", k=1, rerank="geometry")[0]
    assert hit.verification.source == "cells"
    assert hit.verification.by_features == 0 and hit.probability < 0.5
