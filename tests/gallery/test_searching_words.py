"""Searching by words: alone, with an image, and against what is not wanted; reopening; refusals."""

import shutil
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lookalike.errors import GalleryError, UnreadableImageError, UnsupportedMethodError
from lookalike.explainers import words
from lookalike.gallery import Gallery
from lookalike.types import TextExplanation
from made_image_text import save_open_clip, save_transformers

TEXT = "red sofa under a window"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_transformers(tmp_path_factory.mktemp("two towers") / "siglip", "siglip")


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "kept shares"])
def gallery(request, model, room_files, tmp_path_factory):
    made = Gallery.create(
        tmp_path_factory.mktemp("galleries") / "words.gallery", model, keep_shares=request.param
    )
    made.add(room_files[0])
    return made


def order(gallery, direction):
    """Ids by the cosine with a direction, best first."""
    records = gallery.records()
    scores = torch.stack([torch.from_numpy(gallery.embedding(r.id)) for r in records]) @ F.normalize(
        direction, dim=0
    )
    return [records[i].id for i in scores.argsort(descending=True).tolist()], scores.sort(
        descending=True
    ).values


def check(gallery, hits, direction):
    ids, scores = order(gallery, direction)
    assert [hit.id for hit in hits] == ids
    torch.testing.assert_close(torch.tensor([hit.similarity for hit in hits]), scores, atol=1e-5, rtol=0)


def test_words_order_a_gallery_by_their_cosines_and_hits_say_why(gallery):
    assert gallery.answers_words
    hits = gallery.search(text=TEXT, k=12)
    check(gallery, hits, gallery.embedder.embed_text(TEXT)[0])
    why = hits[0].why()
    assert isinstance(why, TextExplanation) and why.similarity == pytest.approx(hits[0].similarity, abs=1e-6)
    stated = sum(value for _, value in why.match.residual_parts)
    atol = 2e-3 if gallery.keeps_shares else 1e-5  # stored shares are in half precision
    assert why.match_map.sum() + stated == pytest.approx(hits[0].similarity, abs=atol)
    assert why.match_residual == pytest.approx(stated, abs=atol)
    assert [part.label for part in why.parts] == TEXT.split()
    with pytest.raises(UnsupportedMethodError, match="by method shares"):
        hits[0].why("rollout")


def test_a_text_with_an_image_and_against_others_is_the_weighted_sum(gallery, room_files):
    files = room_files[1]
    unit = {i: torch.from_numpy(gallery.embedding(gallery.search(files[i], k=1)[0].id)) for i in (0, 5)}
    text, other = gallery.embedder.embed_text(["stripes", "noise"])
    hits = gallery.search(files[0], text="stripes", weight=0.8, unlike=[files[5], "noise"], k=12)
    check(gallery, hits, 0.2 * unit[0] + 0.8 * text - 0.25 * (unit[5] + other))
    why = hits[3].why()
    names = [files[0].name, f"not {files[5].name}", "not noise"]
    assert sorted(part.label for part in why.parts) == sorted(["stripes", *names])
    assert sum(part.value for part in why.parts) == pytest.approx(hits[3].similarity, abs=1e-5)
    assert not why.by_words and why.residual == pytest.approx(0, abs=1e-5)
    without = gallery.search(files[0], text="stripes", leave_self_out=True, k=12)
    assert len(without) == 11


def test_only_images_that_are_not_wanted_need_no_words(indexed, room_files):
    files = room_files[1]
    hits = indexed.search(files[0], unlike=[files[1]], k=12)
    assert hits[0].why().parts[0].label == files[0].name
    with pytest.raises(UnsupportedMethodError, match="does not answer words"):
        indexed.search(files[0], unlike=["dark rooms"])
    with pytest.raises(UnsupportedMethodError, match="does not answer words"):
        indexed.search(text=TEXT)
    assert not indexed.answers_words


def test_a_file_that_is_missing_is_not_taken_for_words(gallery, room_files):
    with pytest.raises(UnreadableImageError, match=r"no image nowhere/none\.JPG"):
        gallery.search(room_files[1][0], unlike=["nowhere/none.JPG"])


def test_words_have_no_probabilities(model, room_files, tmp_path):
    gallery = Gallery.in_memory(model)
    gallery.add(room_files[0], workers=0)
    files = room_files[1]
    gallery.calibrate([(f, f, True) for f in files[:6]] + [(files[0], f, False) for f in files[4:]])
    assert gallery.search(room_files[1][0])[0].probability is not None
    assert gallery.search(text=TEXT)[0].probability is None
    assert gallery.search(room_files[1][0], text=TEXT)[0].probability is None
    with pytest.raises(ValueError, match="not for words"):
        gallery.search(text=TEXT, min_probability=0.5)


def test_wrong_wishes_are_refused(gallery, room_files):
    for arguments, words_of_it in (
        ({}, "an image or a text"),
        ({"text": " "}, "at least one word"),
        ({"text": "a", "weight": 1.0}, "above 0 and below 1"),
        ({"text": "a", "box": (0, 0, 9, 9)}, "part of one image"),
        ({"text": "a", "explain": True}, "only the similarity with one image"),
        ({"text": "a", "leave_self_out": True}, "no id"),
    ):
        with pytest.raises(ValueError, match=words_of_it):
            gallery.search(**arguments)


def test_a_saved_gallery_opens_with_its_words_loaded_when_they_are_asked_for(
    room_files, tmp_path, monkeypatch
):
    folder = save_open_clip(tmp_path / "model")
    monkeypatch.chdir(tmp_path)
    Gallery.create("words.gallery", "model").add(room_files[0])
    monkeypatch.chdir("/")
    gallery = Gallery.open(tmp_path / "words.gallery")
    assert gallery.embedder._text_tower is None
    hits = gallery.search(text=TEXT, k=3)
    assert len(hits) == 3 and gallery.embedder._text_tower is not None
    shutil.rmtree(folder)
    with pytest.raises(GalleryError, match="can't be loaded"):
        Gallery.open(tmp_path / "words.gallery")


def test_many_images_are_searched_with_the_same_words(gallery, room_files):
    files = room_files[1][:2]
    together = gallery.search_many(files, text="stripes", k=3)
    for file, hits in zip(files, together, strict=True):
        alone = gallery.search(file, text="stripes", k=3)
        assert [hit.id for hit in hits] == [hit.id for hit in alone]
        assert hits[0].why(layer="last").parts[1].label == file.name


def test_the_words_are_missing_without_the_extra(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    gallery = Gallery.in_memory(model)
    with pytest.raises(Exception, match=r"pip install 'lookalike\[text\]'"):
        gallery.search(text=TEXT)


def test_the_row_of_words_shows_every_label():
    unit = torch.eye(3)
    asked = words.Asked(unit[0], "a b", ("a", "b"), unit[:2], by_words=True)
    row = words._row_of_parts(asked, [0.1, -0.2], 0.3)
    assert row.values.shape == (1, 2) and dict(row.residual_parts)["words together"] == pytest.approx(0.4)
    halves = np.split(np.asarray(row.picture.image), 2, axis=1)
    assert all(half.min() < 100 for half in halves)
