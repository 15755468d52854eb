"""Verification by geometry: planted transformations are found, absurd ones are not, in original pixels."""

import builtins
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from lookalike import images, scenes
from lookalike.errors import LookalikeError, UnreadableImageError
from lookalike.rerankers import GeometryReranking, local_features, make_reranker, verify_features
from lookalike.rerankers.local_features import mirrored_descriptors
from lookalike.rerankers.transformations import feature_pairs, is_possible, verify_points
from lookalike.types import Ranking, carried

cv2 = pytest.importorskip("cv2")
HEIGHT, WIDTH = 301, 427


def painting(seed=0, size=(HEIGHT, WIDTH)):
    """A picture full of detail, (H, W) of odd sides."""
    rng = np.random.default_rng(seed)
    image = scenes.paint(seed, 2 * max(size)).resize((size[1], size[0])).convert("RGB")
    pixels = np.array(image)
    for _ in range(160):
        x, y = rng.integers(0, size[1]), rng.integers(0, size[0])
        color = [int(c) for c in rng.integers(0, 256, 3)]
        cv2.circle(pixels, (int(x), int(y)), int(rng.integers(2, 12)), color, -1, cv2.LINE_AA)
    return Image.fromarray(pixels)


def warped(image, matrix, size):
    """The picture carried by a homography of box coordinates (edges of pixels), on gray (H, W)."""
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    of_centers = np.linalg.inv(half) @ matrix @ half
    pixels = cv2.warpPerspective(
        np.array(image), of_centers, (size[1], size[0]), flags=cv2.INTER_CUBIC, borderValue=(128, 128, 128)
    )
    return Image.fromarray(pixels)


def compared(query, match, **options):
    return verify_features(local_features(images.load(query), **options), local_features(images.load(match)))


TURNED = np.array([[0.55, -0.75, 420.0], [0.75, 0.55, 35.0], [0.0, 0.0, 1.0]])
PERSPECTIVE = np.array([[0.9, 0.08, 40.0], [-0.05, 1.05, 60.0], [2.5e-4, 1.5e-4, 1.0]])


@pytest.mark.parametrize("planted", [TURNED, PERSPECTIVE], ids=["turned", "perspective"])
def test_a_planted_homography_is_recovered_within_a_pixel(planted):
    match = painting()
    found = compared(warped(match, planted, (503, 701)), match)
    corners = ((0.0, 0.0), (WIDTH, 0.0), (WIDTH, HEIGHT), (0.0, HEIGHT))
    expected = np.array(carried(planted, corners))
    assert found.n_inliers > 60
    assert found.kind == "homography" and not found.mirrored
    assert np.abs(np.array(found.query_outline) - expected).max() < 1
    carried_points = np.array(carried(found.transformation, tuple(map(tuple, found.query_points.tolist()))))
    assert np.median(np.linalg.norm(carried_points - found.match_points, axis=1)) < 0.5


def test_there_is_no_shift_of_half_a_pixel_between_scales():
    match = painting()
    small = match.resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.BOX)  # odd sides: 213 x 150
    found = compared(small, match)
    expected = [(0, 0), (WIDTH // 2, 0), (WIDTH // 2, HEIGHT // 2), (0, HEIGHT // 2)]
    assert np.abs(np.array(found.query_outline) - expected).max() < 0.3


def test_a_mirror_image_is_found_and_said_to_be_one():
    match = painting()
    found = compared(match.transpose(Image.Transpose.FLIP_LEFT_RIGHT), match)
    assert found.mirrored and found.n_inliers > 100
    expected = [(WIDTH, 0), (0, 0), (0, HEIGHT), (WIDTH, HEIGHT)]
    assert np.abs(np.array(found.query_outline) - expected).max() < 1


def test_mirrored_descriptors_are_those_of_the_mirrored_picture():
    picture = painting()
    own = local_features(images.load(picture))
    flipped = local_features(images.load(picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    same_way = feature_pairs(own.descriptors, flipped.descriptors)
    turned = feature_pairs(mirrored_descriptors(own.descriptors), flipped.descriptors)
    assert len(turned) > 4 * len(same_way)
    expected = own.points[turned[:, 0]] * (-1, 1) + (WIDTH, 0)
    assert np.median(np.linalg.norm(expected - flipped.points[turned[:, 1]], axis=1)) < 0.5


def test_points_lie_on_the_picture_as_it_is_seen_although_exif_turns_it(tmp_path):
    match = painting()
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side: to be turned by 90 degrees clockwise
    stored = match.transpose(Image.Transpose.ROTATE_90)
    stored.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as file:
        assert file.size == (HEIGHT, WIDTH)
    found = compared(tmp_path / "turned.png", match)
    assert np.abs(found.query_points - found.match_points).max() < 1
    assert found.match_size == (HEIGHT, WIDTH)


def test_points_are_in_original_pixels_although_the_picture_was_decoded_at_half_scale(tmp_path):
    match = painting()
    large = match.resize((4 * WIDTH, 4 * HEIGHT), Image.Resampling.BICUBIC)
    large.save(tmp_path / "large.jpg", quality=95)
    picture = images.load(tmp_path / "large.jpg", at_least=(2 * HEIGHT - 9, 2 * WIDTH - 9))
    assert picture.image.width < 4 * WIDTH
    found = verify_features(local_features(picture), local_features(images.load(match)))
    expected = [(0, 0), (4 * WIDTH, 0), (4 * WIDTH, 4 * HEIGHT), (0, 4 * HEIGHT)]
    assert np.abs(np.array(found.query_outline) - expected).max() < 4  # one pixel of the match


def test_pictures_of_different_things_have_next_to_no_inliers():
    n_inliers = [compared(painting(seed), painting(seed + 10)).n_inliers for seed in range(6)]
    assert max(n_inliers) <= 5


def test_a_picture_without_detail_has_no_features_and_no_match():
    flat = Image.new("RGB", (211, 97), (90, 120, 80))
    assert len(local_features(images.load(flat))) == 0
    found = compared(flat, painting())
    assert found.n_inliers == 0 and found.transformation is None and found.query_outline == ()


def test_the_same_pictures_give_the_same_evidence_twice():
    match = painting()
    query = warped(match, PERSPECTIVE, (503, 701))
    first, second = compared(query, match), compared(query, match)
    assert np.array_equal(first.transformation, second.transformation)
    assert np.array_equal(first.query_points, second.query_points)


def test_inliers_are_one_to_one():
    match = painting()
    found = compared(warped(match, TURNED, (503, 701)), match)
    for points in (found.query_points, found.match_points):
        assert len(np.unique(np.round(points), axis=0)) == len(points)


def test_only_the_frame_of_the_query_is_compared():
    a, b = painting(1), painting(2)
    both = Image.new("RGB", (2 * WIDTH + 30, HEIGHT), (200, 200, 200))
    both.paste(a, (0, 0))
    both.paste(b, (WIDTH + 30, 0))
    right = (WIDTH + 30.0, 0.0, 2 * WIDTH + 30.0, float(HEIGHT))
    assert compared(both, a, frame=right).n_inliers <= 5
    found = compared(both, b, frame=right)
    assert found.n_inliers > 100
    assert np.abs(found.query_points - found.match_points - (WIDTH + 30, 0)).max() < 1.5
    assert (
        np.abs(np.array(found.match_outline) - [(0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT)]).max() < 1
    )


GRID = np.stack(np.meshgrid(np.arange(20.0, 400, 60), np.arange(20.0, 280, 60)), axis=-1).reshape(-1, 2)
FRAME = (0.0, 0.0, 427.0, 301.0)
SHIFT = np.array([5.0, -3.0])


@pytest.mark.parametrize(
    ("matrix", "why"),
    [
        (np.diag([1.0, 0.1, 1.0]), "flattened"),
        (np.diag([0.01, 0.01, 1.0]), "shrunk to a spot"),
        (np.diag([-1.0, 1.0, 1.0]), "mirrored although the pairs are not"),
        (np.array([[1, 0, 0], [0, 1, 0], [-4e-3, 0, 1.0]]), "the horizon crosses the picture"),
        (np.array([[1, 2, 0], [2, 4, 0], [0, 0, 1.0]]), "singular"),
        (np.full((3, 3), np.nan), "not a number"),
    ],
)
def test_absurd_transformations_are_rejected(matrix, why):
    match_points = np.array(carried(matrix, tuple(map(tuple, GRID.tolist()))))
    assert not is_possible(matrix, GRID, match_points, FRAME, (301, 427), False), why


def test_a_plain_shift_is_possible_but_not_with_all_points_on_a_line():
    shift = np.array([[1, 0, 5.0], [0, 1, -3.0], [0, 0, 1]])
    assert is_possible(shift, GRID, GRID + SHIFT, FRAME, (301, 427), False)
    line = GRID[:7]
    assert not is_possible(shift, line, line + SHIFT, FRAME, (301, 427), False)


def test_pairs_need_a_clear_nearest_that_prefers_them_too():
    match = torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0], [0, 1, 0], [0.02, 1, 0]]), dim=1).numpy()
    query = torch.nn.functional.normalize(
        torch.tensor([[1.0, 0.1, 0], [0.01, 1, 0], [1.0, 0.4, 0]]), dim=1
    ).numpy()
    # the second is as near to two; the third is less near to the first row than the first is
    assert feature_pairs(query, match).tolist() == [[0, 0]]


def test_cells_that_move_together_are_found_among_others():
    rng = np.random.default_rng(0)
    moved = np.vstack([GRID * 0.5 + (30, 10), rng.uniform(0, 300, (15, 2))]).astype(np.float32)
    points = np.vstack([GRID, rng.uniform(0, 300, (15, 2))]).astype(np.float32)
    found = verify_points(points, moved, frame=FRAME, match_size=(301, 427), tolerance=4.0)
    assert found.source == "cells" and len(GRID) <= found.n_inliers <= len(GRID) + 3
    assert np.allclose(found.transformation, [[0.5, 0, 30], [0, 0.5, 10], [0, 0, 1]], atol=0.02)
    assert found.by_features == 0  # cells raise no odds


# --- as a re-ranker ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def features():
    return [local_features(images.load(painting(seed))) for seed in range(4)]


def ranking():
    """A query that by its cosine is closest to row 0 and farthest from row 3."""
    gallery = torch.nn.functional.normalize(torch.tensor([[1.0, 0.1], [1, 0.3], [1, 0.5], [1, 0.7]]), dim=1)
    query = torch.tensor([[1.0, 0.0]])
    scores = query @ gallery.T
    return Ranking(query, gallery, torch.tensor([[0, 1, 2, 3]]), scores)


def test_the_picture_that_matches_comes_first_although_its_cosine_is_last(features):
    query = local_features(images.load(warped(painting(3), PERSPECTIVE, (503, 701))))
    reranker = GeometryReranking(lambda _: query, lambda row: features[row])
    after = reranker(ranking())
    assert after.indices.tolist() == [[3, 0, 1, 2]]
    assert reranker.evidence(0, 3).n_inliers > 60
    expected = reranker.odds.log_odds(float(ranking().scores[0, 3]), reranker.evidence(0, 3).n_inliers)
    assert after.scores[0, 0] == pytest.approx(expected, abs=1e-5)
    move = reranker.explain(ranking(), 0, 3)
    assert (move.rank_before, move.rank_after, move.influences) == (4, 1, ())


def test_a_file_that_cannot_be_read_ranks_by_its_cosine(features):
    def gone(row):
        if row == 0:
            raise UnreadableImageError("gone")
        return features[row]

    query = local_features(images.load(painting(9)))
    reranker = GeometryReranking(lambda _: query, gone)
    assert reranker(ranking()).indices.tolist() == [[0, 1, 2, 3]]
    assert reranker.evidence(0, 0) is None


def test_by_name_it_asks_for_pictures():
    with pytest.raises(ValueError, match="geometry reads the images and needs query_features"):
        make_reranker("geometry")


def test_without_opencv_one_sentence_names_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    real = builtins.__import__

    def without(name, *rest, **options):
        if name == "cv2":
            raise ImportError(name)
        return real(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(LookalikeError, match=r"pip install 'lookalike\[geometry\]'"):
        local_features(images.load(Image.new("RGB", (30, 20))))
