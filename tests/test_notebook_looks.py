"""Results show themselves in notebooks: as HTML that holds what is asked of them, with names escaped."""

import pytest

import lookalike
from lookalike import scenes
from lookalike.gallery import Gallery
from lookalike.gallery.checking import CheckReport, Finding
from lookalike.plugs.notebook import ProgressBar
from lookalike.types import Picture, Progress


@pytest.fixture(scope="module")
def rooms():
    first, second, _ = scenes.room_pair(1, size=(96, 128))
    images = (first.image, second.image, scenes.room(9, paintings=[7], size=(96, 128)).image)
    return [Picture(image, (96, 128), name) for image, name in zip(images, ("<a>", "b", "c"), strict=True)]


def test_a_difference_shows_query_and_both_matches(rooms, mini):
    html = lookalike.difference(*rooms, model=mini)._repr_html_()
    assert html.count("<img ") == 4  # the query, its map, and two photographs
    assert "&lt;a&gt;" in html and "<a>" not in html


def test_matching_cells_are_a_table_of_at_most_ten(rooms, mini):
    pairs = lookalike.place_matches(rooms[0], rooms[1], model=mini)
    html = pairs._repr_html_()
    assert html.count("<tr>") == 1 + min(10, len(pairs.matches))
    assert "&lt;a&gt;" in html and "<a>" not in html


def test_a_gallery_says_what_it_added_and_what_was_decided(rooms, mini, tmp_path):
    for i, room in enumerate(rooms):
        room.image.save(tmp_path / f"{i}.png")
    (tmp_path / "bad<b>.png").write_bytes(b"no picture")
    gallery = Gallery.create(tmp_path / "rooms.gallery", model=mini)
    added = gallery.add(tmp_path)._repr_html_()
    assert "3 added" in added and "bad&lt;b&gt;.png" in added
    assert "3 in 3 files" in gallery.describe()._repr_html_()
    case = gallery.case("one")
    pairs = case.add(gallery.search(tmp_path / "0.png", k=2), tmp_path / "0.png")
    case.decide(pairs[0], "same", note="<i>here</i>")
    html = case._repr_html_()
    assert "&lt;i&gt;here&lt;/i&gt;" in html and html.count("undecided") >= 1


def test_a_check_says_whether_damage_is_left():
    finding = Finding("rows", "two rows are one", 2)
    assert "damaged" in CheckReport(3, 3, (finding,))._repr_html_()
    assert "sound" in CheckReport(3, 3, ())._repr_html_()


def test_a_bar_is_closed_when_its_stage_is_done(capsys):
    bar = ProgressBar()
    for done in range(4):
        bar(Progress("embedding", done, 3, 1.0, None))
    assert "3/3" in capsys.readouterr().err
    assert bar._bar is None
