"""A planted mark is found by an audit, saved, and set aside; maps still sum to the similarity shown."""

import json

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from lookalike import scenes
from lookalike.cli import app
from lookalike.errors import GalleryError
from lookalike.gallery import Gallery
from lookalike.gallery.recurrences import Audit
from lookalike.reports.audit import audit_report

N, MARKED = 36, range(0, 36, 4)


@pytest.fixture(scope="module")
def audited(mini, tmp_path_factory):
    """A gallery of 36 paintings, every fourth with a logo in its corner, and what its audit says."""
    folder = tmp_path_factory.mktemp("marked")
    for i in range(N):
        image = scenes.paint(i, 120).convert("RGB").resize((180, 120), Image.Resampling.BILINEAR)
        if i in MARKED:
            draw = ImageDraw.Draw(image)
            draw.ellipse((132, 76, 172, 116), (210, 40, 30))
            draw.polygon([(152, 80), (166, 106), (138, 106)], (255, 255, 255))
        image.save(folder / f"{i:02}.png")
    gallery = Gallery.create(folder.parent / f"{folder.name}.gallery", mini)
    gallery.add(folder, workers=0)
    return gallery, gallery.audit()


def test_the_planted_logo_comes_first_with_its_pictures_and_place(audited):
    _, audit = audited
    first = audit[0]
    names = {path.rsplit("/", 1)[1] for path in first.paths}
    assert names == {f"{i:02}.png" for i in MARKED}
    assert (first.what, first.place) == ("mark at one place", "bottom right")
    left, top, right, bottom = first.boxes[first.paths[0]]
    assert left < 152 < right and top < 96 < bottom
    assert first.part == pytest.approx(0.25)


def test_set_aside_the_pictures_that_carry_it_prefer_each_other_less(audited):
    gallery, audit = audited
    first = audit[0]
    assert first.preference > first.preference_without
    assert first.preference > first.preference_aside
    ids = {record.path: record.id for record in gallery.records()}
    without = gallery.without("1")

    def preference(of):
        units = {path: of.embedding(id) for path, id in ids.items()}
        own = np.stack([units[path] for path in first.paths])
        rest = np.stack([unit for path, unit in units.items() if path not in first.boxes])
        pairs = own @ own.T
        return (pairs.sum() - len(own)) / (len(own) * (len(own) - 1)) - (own @ rest.T).mean()

    assert preference(without) < 0.9 * preference(gallery)


def test_a_hit_without_it_is_explained_by_the_similarity_that_is_shown(audited):
    gallery, audit = audited
    hits = gallery.without(audit[0]).search(audit[0].paths[0], k=3)
    assert hits[0].similarity == pytest.approx(1, abs=1e-4)
    why = hits[1].why(layer="last")
    assert why.additive and float(why.query.values.sum()) == pytest.approx(hits[1].similarity, abs=1e-4)
    before = gallery.search(audit[0].paths[0], k=N)
    assert hits[1].similarity != pytest.approx(
        next(hit.similarity for hit in before if hit.id == hits[1].id), abs=1e-3
    )


def test_what_was_saved_is_what_was_found(audited):
    gallery, audit = audited
    saved = Audit.load(gallery._folder)
    assert saved.sentence == audit.sentence
    assert saved.to_dict() == audit.to_dict()
    torch.testing.assert_close(torch.from_numpy(saved[0].directions), torch.from_numpy(audit[0].directions))
    assert json.loads(json.dumps(audit.to_dict()))["found"][0]["carried"] == audit[0].carried


def test_unmarked_pictures_have_nothing_beyond_chance(audited):
    gallery, _ = audited
    plain = Gallery.in_memory(gallery.embedder)
    plain.add([r.path for r in gallery.records() if int(r.path[-6:-4]) not in MARKED], workers=0)
    audit = plain.audit()
    assert len(audit) == 0
    assert audit.sentence == "27 of 27 pictures were looked at: nothing recurs beyond chance."


def test_the_report_shows_crops_and_the_command(audited):
    page = audit_report(audited[1], title="Marked")
    assert page.count("<figure>") >= 8 and "--set-aside 1" in page and "bottom right" in page


def test_search_on_the_command_line_sets_it_aside(audited):
    gallery, audit = audited
    command = ["search", audit[0].paths[0], "-g", gallery.uri, "-k", "2", "--json", "--set-aside", "1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["set_aside"] == ["1"] and found["model"].endswith("set-aside")


def test_an_unknown_id_and_a_gallery_without_an_audit_are_said(audited, mini, indexed):
    gallery, _ = audited
    with pytest.raises(GalleryError, match="the last audit found no '77'"):
        gallery.without("77")
    with pytest.raises(GalleryError, match="has not been audited"):
        indexed.without("1")
    with pytest.raises(GalleryError, match="20 pictures or more, and this gallery has 12"):
        indexed.audit()
    with pytest.raises(ValueError, match="sample=5"):
        gallery.audit(sample=5)
