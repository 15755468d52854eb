"""Results show themselves in notebooks: as HTML that holds what is asked of them, with names escaped."""

import ast
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import lookalike
from lookalike import scenes
from lookalike.evaluation import evaluate
from lookalike.evaluation.comparison.results import Comparison
from lookalike.evaluation.explanations.results import ExplanationScores
from lookalike.gallery import Gallery
from lookalike.gallery.add_report import AddReport
from lookalike.gallery.checking import CheckReport, Finding
from lookalike.gallery.groups import Groups, PictureGroup
from lookalike.gallery.searching_regions import RegionsResult
from lookalike.plugs.notebook import ProgressBar
from lookalike.training import TrainingResult
from lookalike.types import GeometricMatch, Picture, Progress


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


NASTY = "<script>x</script>&'\"<b>"  # as a file, a class or a model may be called
SOURCE = Path(lookalike.__file__).parent
PLAIN = {"table", "caption", "tr", "th", "td", "div", "b", "br", "img"}
NEED_A_MODEL = {"Explanation", "Difference", "CellSimilarity", "SearchResult", "Hit", "CaseFile"}
NEED_A_MODEL |= {"GalleryDescription"}  # these are made by the tests around


def tags_of(html):
    """The tags of a fragment; each that is opened is closed."""
    found, waiting = [], []

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            found.append(tag)
            assert not any(name.startswith("on") for name, _ in attributes)
            if tag not in ("br", "img"):
                waiting.append(tag)

        def handle_endtag(self, tag):
            assert waiting.pop() == tag

    Reader().feed(html)
    assert not waiting and set(found) <= PLAIN, found
    return found


def of_class(kind, **fields):
    """An object with these fields alone, as far as its HTML needs them."""
    made = object.__new__(kind)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def small_results(n):
    """One result of each kind with n items that have markup in their names: class, result, rows."""
    picture = Picture(scenes.paint(0, 40), (40, 40), NASTY)
    metric = SimpleNamespace(title=NASTY, first=0.1, second=0.2, difference=0.1)
    score = SimpleNamespace(model=NASTY, method=NASTY, measure=NASTY, value=0.5)
    group = PictureGroup("copy", (NASTY, "b"), (), ())
    finding = Finding(NASTY, NASTY, 2)
    yield AddReport(0, 0, ((NASTY, NASTY),) * n, (), not_pruned=NASTY), min(n, 20)
    yield CheckReport(n, n, (finding,) * n), n
    yield Groups([group] * n, threshold=None, unreadable={}, remark=""), min(n, 50)
    yield RegionsResult(picture, [], n), None
    yield of_class(Comparison, source=NASTY, first=NASTY, second=NASTY, n_queries=n, n_gallery=n,
                   metrics=(metric,) * n), n  # fmt: skip
    yield of_class(ExplanationScores, rows=(score,) * n), min(n, 1)
    yield (
        of_class(
            TrainingResult, path=Path("a<b>"), before={}, metrics={f"{NASTY}{i}": 0.5 for i in range(n)}
        ),
        n,
    )
    seen = SimpleNamespace(n_inliers=n)
    yield of_class(GeometricMatch, query=picture, match=picture, verification=seen, similarity=0.5,
                   probability=0.5), None  # fmt: skip


@pytest.mark.parametrize("n", [0, 1, 70])
def test_markup_in_names_stays_text_and_rows_are_bounded(n):
    for result, rows in small_results(n):
        tags = tags_of(result._repr_html_())
        assert tags, type(result).__name__
        if rows is not None:
            assert tags.count("tr") == rows + 1, type(result).__name__


def test_an_evaluation_of_classes_with_markup_is_one_table():
    found = evaluate((np.eye(4)[[0, 0, 1, 1]], [NASTY, NASTY, "b", "b"]), clustering=False)
    assert tags_of(found._repr_html_()).count("table") == 1


def test_a_search_without_hits_says_so(mini, tmp_path):
    scenes.paint(0, 64).save(tmp_path / "a.png")
    gallery = Gallery.in_memory(mini)
    gallery.add(tmp_path)
    hits = gallery.search(scenes.paint(1, 64), min_similarity=0.99)
    assert "no hits" in hits._repr_html_()


def test_every_class_that_shows_itself_is_tried_here():
    showing = {
        node.name
        for path in SOURCE.rglob("*.py")
        if "_repr_html_" in (text := path.read_text(encoding="utf-8"))
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ClassDef)
        and any(getattr(each, "name", "") == "_repr_html_" for each in node.body)
    }
    assert showing == {type(result).__name__ for result, _ in small_results(1)} | NEED_A_MODEL | {
        "Evaluation"
    }
