"""No view of the page has a serious finding of axe-core, light and dark, wide and narrow."""

import re

import pytest

from lookalike.gallery import Gallery, folder_labels
from lookalike.reports.case import case_report
from lookalike.reports.groups import groups_report
from lookalike.reports.search import search_report
from lookalike.web import create_app
from made_browser import IN_BROWSER
from made_image_text import save_transformers
from made_server import serving

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

pytestmark = IN_BROWSER

LOOKS = {
    "wide": {"viewport": {"width": 1366, "height": 900}, "color_scheme": "light"},
    "narrow and dark": {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark"},
}
FOUND = re.compile("/search$")


@pytest.fixture(scope="module")
def galleries(room_folder, mini, tmp_path_factory):
    folder = tmp_path_factory.mktemp("accessible")
    rooms = Gallery.create(folder / "rooms.gallery", mini)
    rooms.add(room_folder, metadata=folder_labels(room_folder), workers=0)
    worded = Gallery.in_memory(save_transformers(folder / "model", "clip"))
    worded.add(room_folder, workers=0)
    return {"rooms": rooms, "worded": worded}


@pytest.fixture(scope="module")
def own_address(galleries):
    with serving(create_app(galleries)) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture(params=LOOKS)
def page(request, browser, own_address):
    with browser.new_context(**LOOKS[request.param], reduced_motion="reduce") as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.goto(own_address)
        page.wait_for_selector(".browse")
        yield page


def findings(page):
    """What axe-core finds and calls serious or critical: rule, element, and what is wrong."""
    found = axe.Axe().run(page).response["violations"]
    return [
        (each["id"], node["target"], node["failureSummary"])
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"]
    ]


def search_with(page, room_folder):
    with page.expect_response(FOUND):
        page.set_input_files("#file", sorted(room_folder.rglob("*.png"))[4])
    page.wait_for_selector("#grid:not([aria-busy]) .hit")


def open_folds(page):
    page.locator("details").evaluate_all("all => all.forEach(each => (each.open = true))")


def test_the_gallery_hits_regions_and_errors_have_no_serious_finding(page, room_folder):
    open_folds(page)
    assert findings(page) == []
    search_with(page, room_folder)
    page.locator(".hit .why").first.click()
    page.locator(".hit .note-button").first.click()
    page.wait_for_selector("#legend:not([hidden])")
    assert findings(page) == []
    page.locator("#query-frame").press("Enter")  # a box
    page.wait_for_selector("#regions .chip")
    page.wait_for_selector("#grid:not([aria-busy]) .hit")
    page.click("#polygon")
    assert findings(page) == []
    page.click("#enlarge")
    assert findings(page) == []
    page.click("#close-large")
    page.fill("#where", "nothing like ==")
    page.locator("#where").press("Enter")
    page.wait_for_selector("#message.error")
    assert findings(page) == []


def test_compare_and_the_case_have_no_serious_finding(page, room_folder):
    open_folds(page)
    search_with(page, room_folder)
    for card, verdict in ((0, "same"), (1, "different"), (2, "unsure")):
        page.locator(f".hit >> nth={card}").locator(f".verdict.{verdict}").click()
        page.wait_for_selector(f".hit[data-verdict={verdict}]")
    assert findings(page) == []
    page.locator(".hit").first.get_by_text("Compare").click()
    page.get_by_text("Each map sums").wait_for()
    page.keyboard.press("a")  # a second candidate
    page.get_by_text("the map of the first candidate").wait_for()
    assert findings(page) == []
    page.keyboard.press("Escape")
    page.click("#show-case")
    page.wait_for_selector(".pair-card")
    assert findings(page) == []
    page.select_option("#case", label="New case…")
    page.wait_for_selector("#name-case[open]")
    assert findings(page) == []


def test_the_map_and_a_selection_have_no_serious_finding(page, galleries):
    galleries["rooms"].map("pca", clusters=3)  # the one that is kept is shown
    page.click("#show-map")
    page.wait_for_selector(".map-cluster")
    assert findings(page) == []
    page.get_by_label("Color by").select_option(label="label")
    page.locator(".map-entry").first.click()
    page.wait_for_selector(".map-selection .browse")
    page.locator(".map-stage").focus()
    page.keyboard.press("Shift+ArrowRight")
    page.wait_for_selector(".map-tip b")
    assert findings(page) == []


def test_words_have_no_serious_finding(page):
    page.select_option("#gallery", "worded")
    page.wait_for_selector("#words-fields:not([hidden])")
    open_folds(page)
    page.fill("#unlike-text", "window")
    page.fill("#text", "red sofa")
    page.locator("#text").press("Enter")
    page.wait_for_selector("#grid:not([aria-busy]) .hit")
    page.locator(".hit .why").first.click()
    page.wait_for_selector(".parts .chip")
    assert page.locator(".unlike-chip").count() == 1
    assert findings(page) == []
    page.locator(".hit").first.get_by_text("Compare").click()
    page.get_by_text("The map sums").wait_for()
    assert findings(page) == []


@pytest.mark.parametrize("look", LOOKS)
def test_reports_and_the_token_prompt_have_no_serious_finding(browser, galleries, look):
    gallery = galleries["rooms"]
    records = gallery.records()
    hits = gallery.search(records[0].id, k=3)
    case = gallery.case(f"of {look}")
    case.decide(case.add(hits)[1], "same", note="the same crack", who="anna")
    with browser.new_context(**LOOKS[look]) as context:
        page = context.new_page()
        groups = gallery.groups(kinds=("near-duplicate", "same"), min_similarity=0.5)
        assert len(groups) > 0
        for html in (
            search_report(hits, gallery, parameters={}),
            case_report(case, gallery),
            groups_report(groups, title="Groups"),
        ):
            page.set_content(html)
            assert findings(page) == []
        with serving(create_app(gallery, token="s" * 24)) as port:
            page.goto(f"http://127.0.0.1:{port}/")
            page.wait_for_selector("#ask-token[open]")
            assert findings(page) == []
