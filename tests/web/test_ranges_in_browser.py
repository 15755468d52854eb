"""Color ranges on the page: one for both sides, or two as in the reports, and the legend that says so."""

import re

import pytest

from lookalike.render.ranges import side_limits
from made_browser import IN_BROWSER

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

pytestmark = IN_BROWSER

BOX = (20, 20, 44, 40)  # of 200 x 150 pixels: what is seen of it is spread thinly over the query


@pytest.fixture
def page(browser, address):
    with browser.new_context(viewport={"width": 1366, "height": 900}) as context:
        yield context.new_page()


def explain_all(page, address, query, box=None):
    region = f"&region={','.join(map(str, box))}&active=0" if box else ""
    page.goto(f"{address}/?query={query}{region}")
    page.wait_for_selector("#grid:not([aria-busy]) .hit")
    with page.expect_response(re.compile("/explanation")):
        page.click("#all-heat")
    expect(page.locator(".why[aria-busy]")).to_have_count(0, timeout=30_000)
    return page.locator("#legend").text_content()


def numbers(text):
    return [float(found) for found in re.findall(r"\d+\.\d+", text)]


def test_a_box_has_the_two_ranges_of_the_reports_and_the_legend_says_why(page, address, gallery, records):
    hits = gallery.search(records[2].id, box=BOX, k=24, leave_self_out=True)
    explained = [hit.why() for hit in hits]
    query, match = side_limits(explained)
    assert match > 3 * query
    said = explain_all(page, address, records[2].id, BOX)
    assert numbers(said) == pytest.approx([query, match], abs=6e-4)
    assert "on the query" in said and "in one range one side would be blank" in said
    pairs = [side_limits([each]) for each in explained]
    i = next(i for i, (own, other) in enumerate(pairs) if own != other)
    page.locator(".hit").nth(i).get_by_text("Compare").click()
    note = page.locator("#compare-note")
    expect(note).to_contain_text("in one range, one side would be blank")
    ranges = note.text_content().split("Colors range over")[1]
    assert numbers(ranges) == pytest.approx(pairs[i], abs=6e-4)
    strongest = page.locator("#left canvas").evaluate(
        "c => c.getContext('2d').getImageData(0, 0, c.width, c.height)"
        ".data.reduce((most, v, i) => (i % 4 === 3 ? Math.max(most, v) : most), 0)"
    )
    assert strongest > 120  # in the matches' range the map of the query was all but clear


def test_whole_pictures_share_one_range(page, address, records):
    said = explain_all(page, address, records[2].id)
    low, high = numbers(said)
    assert low == high > 0 and "blank" not in said
