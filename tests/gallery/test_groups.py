"""Groups of a gallery: planted copies and altered pictures, chains, advice, thresholds, two galleries."""

import csv
import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from lookalike import scenes
from lookalike.errors import GalleryError, ModelMismatchError, UnknownNameError
from lookalike.gallery import Gallery
from lookalike.gallery.calibration import Calibration
from lookalike.gallery.groups import group_threshold
from lookalike.gallery.links import cross_pairs, neighbor_pairs
from lookalike.gallery.parts import LinkedParts
from lookalike.gallery.sameness import compare_files

CURVE = Calibration(10.0, -5.0, 0.5, "by hand", 5, 5)  # probability 0.5 at cosine 0.5


@pytest.fixture(scope="module")
def planted(tmp_path_factory, mini):
    """Six pictures; of one an exact copy, of three an altered one: mirrored, bordered, half as large."""
    folder = tmp_path_factory.mktemp("planted")
    for i in range(6):
        scenes.paint(i, 360).crop((0, 0, 360, 300)).save(folder / f"{i}.png")
    shutil.copy(folder / "0.png", folder / "copy.png")
    ImageOps.mirror(Image.open(folder / "1.png")).save(folder / "mirrored.jpg")
    ImageOps.expand(Image.open(folder / "2.png"), 50, (200, 30, 30)).save(folder / "bordered.jpg")
    Image.open(folder / "3.png").resize((180, 150), Image.Resampling.LANCZOS).save(folder / "small.jpg")
    for i, path in enumerate(sorted(folder.iterdir())):
        os.utime(path, (1_000_000_000 + i, 1_000_000_000 + i))
    gallery = Gallery.in_memory(mini)
    gallery.add(folder, workers=0)
    return folder, gallery


@pytest.fixture(scope="module")
def found(planted):
    return planted[1].groups(kinds=("copy", "near-duplicate"))


def names(group):
    return {Path(path).name for path in group.paths}


def group_with(found, name):
    return next(group for group in found if name in names(group))


def test_exactly_the_planted_copies_and_altered_pictures_are_grouped(found):
    near = {frozenset(names(group)) for group in found if group.kind == "near-duplicate"}
    assert near == {
        frozenset({"1.png", "mirrored.jpg"}),
        frozenset({"2.png", "bordered.jpg"}),
        frozenset({"3.png", "small.jpg"}),
    }
    assert [names(group) for group in found if group.kind == "copy"] == [{"0.png", "copy.png"}]


@pytest.mark.parametrize(
    "name, words",
    [("mirrored.jpg", "flipped"), ("bordered.jpg", "border added"), ("small.jpg", "resized to 50 %")],
)
def test_each_link_says_what_was_changed(found, name, words):
    (link,) = group_with(found, name).links
    assert link.second.endswith(name)
    assert words in link.change


def test_the_transformation_maps_original_pixels_onto_those_of_the_altered_picture(found):
    (bordered,) = group_with(found, "bordered.jpg").links
    np.testing.assert_allclose(bordered.alignment.matrix @ [100, 200, 1], [150, 250, 1], atol=2)
    (mirrored,) = group_with(found, "mirrored.jpg").links
    np.testing.assert_allclose(mirrored.alignment.matrix @ [100, 200, 1], [260, 200, 1], atol=2)
    (small,) = group_with(found, "small.jpg").links
    np.testing.assert_allclose(small.alignment.matrix @ [100, 200, 1], [50, 100, 1], atol=2)


def test_the_original_is_kept_and_the_reason_says_why(found):
    for name, original, reason in (
        ("bordered.jpg", "2.png", "without the border"),
        ("small.jpg", "3.png", "more pixels"),
    ):
        group = group_with(found, name)
        kept = [advice for advice in group.advice if advice.keep]
        assert [Path(advice.path).name for advice in kept] == [original]
        assert reason in kept[0].reason
        assert {advice.path for advice in group.advice} == set(group.paths)


def test_of_exact_copies_the_oldest_is_kept(found):
    group = group_with(found, "copy.png")
    assert [(Path(a.path).name, a.keep) for a in group.advice] == [
        ("0.png", True),
        ("copy.png", False),
    ]


def test_no_file_is_deleted_or_changed(planted, found):
    assert len(list(planted[0].iterdir())) == 10


def test_csv_has_a_row_for_each_file_and_json_the_documented_fields(found):
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    assert len(rows) == sum(len(group.paths) for group in found) == 8
    assert sum(row["advice"] == "keep" for row in rows) == len(found)
    values = json.loads(json.dumps(found.to_dict()))
    assert {"kind", "paths", "links"} <= values["groups"][0].keys()


def test_without_a_calibration_the_same_thing_is_not_sought_and_that_is_said(planted):
    found = planted[1].groups(kinds=("copy", "same"))
    assert {group.kind for group in found} == {"copy"}
    assert "calibrate" in found.remark


def test_all_pictures_are_one_thing_at_the_lowest_threshold(planted):
    found = planted[1].groups(kinds=("same",), min_similarity=-1.0)
    assert len(found) == 1
    assert len(found[0].paths) == 10
    assert found[0].advice == ()


@pytest.mark.parametrize(
    ("first", "second", "kept", "why"),
    [
        (1_300_000_000, 1_400_000_000, "a.png", "the oldest of identical files"),
        (0, 1_400_000_000, "b.png", "the oldest of identical files"),  # 1970: no time
        (10**10, 1_400_000_000, "b.png", "the oldest of identical files"),  # by a clock that was ahead
        (0, 315_532_800, "a.png", "the first of identical files"),  # 1980: as archives say it
    ],
)
def test_a_time_that_can_not_be_does_not_make_a_copy_the_oldest(mini, tmp_path, first, second, kept, why):
    scenes.paint(1, 100).save(tmp_path / "a.png")
    shutil.copy(tmp_path / "a.png", tmp_path / "b.png")
    os.utime(tmp_path / "a.png", (first, first))
    os.utime(tmp_path / "b.png", (second, second))
    gallery = Gallery.in_memory(mini)
    gallery.add(tmp_path, workers=0)
    (advice, _) = gallery.groups(kinds=("copy",))[0].advice
    assert (Path(advice.path).name, advice.reason) == (kept, why)


def test_two_galleries_are_linked_across_and_never_inside(planted, mini, tmp_path):
    folder, gallery = planted
    for name in ("copy.png", "mirrored.jpg"):
        shutil.copy(folder / name, tmp_path / f"other-{name}")
    other = Gallery.in_memory(mini)
    other.add(tmp_path, workers=0)
    found = gallery.groups(other=other, kinds=("copy", "near-duplicate"))
    links = {tuple(sorted((Path(x.first).name, Path(x.second).name))) for g in found for x in g.links}
    assert ("1.png", "other-mirrored.jpg") in links
    assert ("2.png", "bordered.jpg") not in links
    assert any("other-copy.png" in names(group) and group.kind == "copy" for group in found)


def test_a_gallery_of_another_model_is_refused(planted, other_model):
    with pytest.raises(ModelMismatchError, match="not comparable"):
        planted[1].groups(other=Gallery.in_memory(other_model))


def test_unknown_kinds_and_a_precision_without_probabilities_are_refused(planted):
    with pytest.raises(UnknownNameError, match="near-duplicate"):
        planted[1].groups(kinds=("duplicate",))
    with pytest.raises(GalleryError, match="calibrate"):
        planted[1].groups(kinds=("same",), precision=0.9)


def test_the_threshold_for_a_precision_is_the_lowest_whose_mean_probability_reaches_it():
    cosines = np.array([0.9, 0.5, 0.7, 0.1], dtype=np.float32)  # probabilities .982, .5, .881, .018
    wanted = {"min_similarity": None}
    assert group_threshold(cosines, CURVE, precision=0.9, **wanted) == pytest.approx(0.7)  # mean .931
    assert group_threshold(cosines, CURVE, precision=0.78, **wanted) == pytest.approx(0.5)  # mean .788
    assert group_threshold(cosines, CURVE, precision=0.999, **wanted) > 0.9
    assert group_threshold(cosines, CURVE, precision=None, **wanted) == pytest.approx(0.5)


def test_a_chain_of_links_does_not_join_what_is_unlike():
    """Vectors every 30 degrees: neighbors have cosine .87, the ends of three links 0."""
    angles = np.deg2rad(np.arange(0, 180, 30))
    parts = LinkedParts(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32))
    assert parts.join(0, 1, least=0.8)
    assert parts.join(2, 3, least=0.8)
    assert not parts.join(1, 2, least=0.8)  # mean of cos 60, 90, 30, 60 = .47
    assert parts.mean_cosine(0, 3) == pytest.approx((0.5 + 0 + 3**0.5 / 2 + 0.5) / 4, abs=1e-6)
    assert parts.parts() == [[0, 1], [2, 3]]


def test_neighbor_pairs_are_those_of_a_naive_loop(noise):
    vectors = noise(37, 5).numpy()
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -2)
    expected = {tuple(sorted((i, j))) for i in range(37) for j in np.argsort(-cosines[i])[:3].tolist()}
    pairs = neighbor_pairs(vectors, 3)
    assert {(a, b) for a, b, _ in pairs} == expected
    for a, b, cosine in pairs:
        assert cosine == pytest.approx(cosines[a, b], abs=1e-5)
    assert (np.diff(pairs.cosines) <= 0).all()


def test_cross_pairs_link_only_the_two_sides(noise):
    a, b = (noise(n, 5, seed=n).numpy() for n in (4, 7))
    for first, second, _ in cross_pairs(a, b, 2):
        assert first < 4 <= second < 11


def test_two_files_are_a_copy_a_near_duplicate_or_different(planted, mini):
    folder, _ = planted
    assert compare_files(folder / "0.png", folder / "copy.png", mini).kind == "copy"
    assert compare_files(folder / "1.png", folder / "mirrored.jpg", mini).kind == "near-duplicate"
    different = compare_files(folder / "1.png", folder / "2.png", mini)
    assert not different.is_same
    assert "calibrated" in different.sentence
    assert (
        compare_files(folder / "1.png", folder / "2.png", mini, CURVE, least_probability=0.0).kind == "same"
    )


def test_of_two_encodings_the_less_compressed_is_kept_although_it_is_younger(mini, tmp_path):
    picture = scenes.paint(7, 300)
    picture.save(tmp_path / "strong.jpg", quality=15)
    picture.save(tmp_path / "light.jpg", quality=92)
    os.utime(tmp_path / "strong.jpg", (1_000_000_000, 1_000_000_000))
    gallery = Gallery.in_memory(mini)
    gallery.add(tmp_path, workers=0)
    (group,) = gallery.groups(kinds=("near-duplicate",))
    assert group.links[0].change == ("re-encoded",)
    assert Path(group.paths[0]).name == "light.jpg"
    assert group.advice[0].reason == "less compressed"


def test_a_file_that_both_galleries_hold_is_no_copy_of_itself(planted, mini, tmp_path):
    folder, gallery = planted
    with pytest.raises(ValueError, match="every file of the other gallery is in this one, too"):
        gallery.groups(other=gallery, kinds=("copy",))
    shutil.copy(folder / "4.png", tmp_path / "again.png")
    both = Gallery.in_memory(mini)
    both.add([tmp_path / "again.png", folder / "4.png", folder / "5.png"], workers=0)
    found = [
        {Path(path).name for path in group.paths} for group in gallery.groups(other=both, kinds=("copy",))
    ]
    assert {"4.png", "again.png"} in found and not any("5.png" in names for names in found)
