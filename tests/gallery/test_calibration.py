"""Probabilities: the curve, where its pairs come from, and the answer that nothing matches."""

import math
from itertools import pairwise

import pytest
import torch

from lookalike import scenes
from lookalike.errors import GalleryError
from lookalike.gallery import Gallery, folder_labels
from lookalike.gallery.calibration import Calibration, fit_calibration
from lookalike.rerankers import DEFAULT_ODDS, MatchOdds


def planted(noise, n=4000):
    """Cosines whose log-odds are 8 (x - 0.6): two normal densities of the same width."""
    spread, gap = 0.2, 8 * 0.2**2
    return 0.6 + gap / 2 + spread * noise(n), 0.6 - gap / 2 + spread * noise(n, seed=1)


def test_the_threshold_is_where_the_probability_is_one_half(noise):
    curve = fit_calibration(*planted(noise), prior=0.1, source="made up")
    assert curve.probability(curve.threshold) == pytest.approx(0.5)
    assert curve.threshold > fit_calibration(*planted(noise), prior=0.5, source="made up").threshold
    assert curve.probability(1) > curve.probability(0) and Calibration.from_dict(curve.to_dict()) == curve


@pytest.mark.parametrize(
    ("positives", "negatives", "prior"), [(3, 50, 0.5), (50, 3, 0.5), (50, 50, 0), (50, 50, 1.5)]
)
def test_too_few_pairs_and_impossible_priors_are_refused(noise, positives, negatives, prior):
    with pytest.raises((GalleryError, ValueError), match=r"5 pairs|between 0 and 1"):
        fit_calibration(1 + noise(positives), noise(negatives), prior=prior, source="made up")


def test_pairs_that_say_the_opposite_are_refused():
    with pytest.raises(GalleryError, match="no more similar"):
        fit_calibration(torch.linspace(0, 0.5, 20), torch.linspace(0.5, 1, 20), prior=0.5, source="made up")


@pytest.fixture(scope="module")
def gallery(mini, room_files, tmp_path_factory):
    gallery = Gallery.create(tmp_path_factory.mktemp("calibrated") / "g", mini)
    gallery.add(room_files[0], metadata=lambda path: {"label": path.parent.name})
    assert gallery.search(room_files[1][0])[0].probability is None
    with pytest.raises(GalleryError, match="calibrate"):
        gallery.search(room_files[1][0], min_probability=0.5)
    gallery.calibrate()
    return gallery


def test_a_gallery_without_labels_calibrates_on_altered_copies(gallery, room_files, mini):
    curve = gallery.calibration
    assert "altered copies" in curve.source and curve.n_positive == 12
    again = Gallery.open(gallery.uri, mini)
    assert again.calibration == curve
    hits = again.search(room_files[1][0], k=12)
    assert hits[0].probability > 0.5 > hits[-1].probability
    assert hits[0].probability == pytest.approx(curve.probability(hits[0].similarity))


def test_nothing_matches_a_picture_of_another_kind(gallery, room_files):
    assert gallery.search(scenes.paint(77, 120), min_probability=0.5) == []
    assert len(gallery.search(room_files[1][0], min_probability=0.5)) >= 1


@pytest.fixture
def twins(mini, tmp_path):
    """Eight paintings and another photograph of each, whose label is the painting."""
    files = []
    for i in range(8):
        painting = scenes.paint(i, 120)
        (tmp_path / str(i)).mkdir()
        for n, picture in enumerate((painting, painting.crop((6, 9, 116, 112)).rotate(2))):
            files.append(tmp_path / str(i) / f"{n}.png")
            picture.save(files[-1])
    gallery = Gallery.in_memory(mini)
    gallery.add(tmp_path, metadata=folder_labels(tmp_path))
    return gallery, files


def test_labels_of_the_gallery_calibrate_it(twins):
    curve = twins[0].calibrate(field="label")
    assert "'label'" in curve.source and curve.n_positive == curve.n_negative == 16
    with pytest.raises(GalleryError, match="no image has the metadata field 'nothing'; there are label"):
        twins[0].calibrate(field="nothing")


def test_labeled_pairs_calibrate_it(twins):
    gallery, files = twins
    firsts, seconds = files[::2], files[1::2]
    pairs = [(a, b, True) for a, b in zip(firsts, seconds, strict=True)]
    pairs += [(a, b, False) for a, b in pairwise(firsts)]
    curve = gallery.calibrate(pairs)
    assert (curve.source, curve.n_positive, curve.n_negative) == ("labeled pairs", 8, 7)
    assert gallery.search(files[0])[1].probability > 0.5


def test_a_part_of_a_picture_has_no_probability(gallery, room_files):
    assert gallery.search(room_files[1][0], box=(0, 0, 90, 90))[0].probability is None


@pytest.mark.parametrize(
    "changes",
    [
        {"slope": "x"}, {"slope": math.nan}, {"slope": 0}, {"slope": -1.0}, {"intercept": math.inf},
        {"prior": 0}, {"prior": 1.0}, {"n_positive": True}, {"source": 5}, {"more": 1}, {"slope": 10**400},
    ],
)  # fmt: skip
def test_a_damaged_curve_is_refused_and_gives_no_probability(changes):
    curve = Calibration(10.0, -5.0, 0.5, "by hand", 5, 5)
    assert Calibration.from_dict(curve.to_dict()) == curve
    odds = DEFAULT_ODDS.to_dict()
    assert MatchOdds.from_dict(odds) == DEFAULT_ODDS
    for kind, values in ((Calibration, curve.to_dict()), (MatchOdds, odds)):
        renamed = {"per_inlier" if kind is MatchOdds and k == "slope" else k: v for k, v in changes.items()}
        with pytest.raises(GalleryError, match="the calibration of the gallery is damaged"):
            kind.from_dict({**values, **renamed})
    with pytest.raises(GalleryError, match="the calibration of the gallery is damaged"):
        Calibration.from_dict({"slope": 1.0})
