"""The report is one file that needs nothing else and shows what it should."""

import dataclasses
import re

import pytest

import lookalike
from lookalike.reports.page import ReportedMatch, pair_report


@pytest.fixture(scope="module")
def explanations(pictures):
    return [lookalike.explain(pictures[0], match) for match in pictures[1:3]]


def made(explanations, **changes):
    matches = [ReportedMatch(e, remark) for e, remark in zip(explanations, ("first", "second"), strict=True)]
    settings = {"title": "A title", "facts": {"model": "mini"}, "summary": "A summary."} | changes
    return pair_report(matches, **settings)


def test_every_picture_is_inside_the_file(explanations):
    html = made(explanations)
    sources = re.findall(r'(?:src|href)="([^"]{0,40})', html)
    assert len(sources) == 1 + 3 * 2  # the best pair, then three pictures a match
    assert all(source.startswith("data:image/webp;base64,") for source in sources)
    assert "http:" not in html and "https:" not in html


def test_scores_remarks_and_facts_are_told(explanations):
    html = made(explanations)
    for explanation, remark in zip(explanations, ("first", "second"), strict=True):
        assert f"{explanation.similarity:.3f}" in html and remark in html
    assert "<th>model</th><td>mini</td>" in html and "A summary." in html


def test_what_is_right_is_marked_where_it_is_known(explanations):
    known = [ReportedMatch(e, is_right=right) for e, right in zip(explanations, (True, False), strict=True)]
    html = pair_report(known, title="t", facts={})
    assert html.index("✓ right") < html.index("✗ wrong")
    assert "✓" not in made(explanations) and "✗" not in made(explanations)


def test_names_from_outside_are_escaped(explanations):
    match = explanations[0].match
    match = dataclasses.replace(
        match, picture=dataclasses.replace(match.picture, name='<script>alert("x")</script>.jpg')
    )
    named = [dataclasses.replace(explanations[0], match=match), explanations[1]]
    html = made(named, title="<b>bold</b>")
    assert "<script>" not in html and "&lt;script&gt;" in html and "<b>bold</b>" not in html


def test_heat_maps_are_not_called_sums(pictures):
    heat = [lookalike.explain(pictures[0], match, method="gradcam") for match in pictures[1:3]]
    html = made(heat)
    assert "heat maps of method gradcam" in html and "sums to the similarity" not in html


def test_a_report_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one match"):
        pair_report([], title="t", facts={})
