"""The page in a real browser with a real server: every view, by clicks and keys."""

import itertools
import re
from pathlib import Path

import pytest

from lookalike.gallery import Gallery, folder_labels
from lookalike.web import create_app
from made_browser import IN_BROWSER
from made_server import serving

playwright = pytest.importorskip("playwright.sync_api")

pytestmark = IN_BROWSER


@pytest.fixture
def open_page(browser, address):
    """Opens the page; fails if a script fails or another host is contacted."""
    pages, problems = [], []

    def open_one(address=address, **options):
        context = browser.new_context(**options)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda r: problems.extend([] if r.url.startswith((address, "blob:")) else [r.url]))
        page.goto(address)
        page.wait_for_selector(".browse")
        pages.append(context)
        return page

    yield open_one
    for context in pages:
        context.close()
    assert not problems


@pytest.fixture
def searched(open_page, room_folder):
    """A page with the hits of an uploaded room."""
    page = open_page(viewport={"width": 1280, "height": 800})
    search_with(page, room_folder)
    return page


def search_with(page, room_folder):
    with page.expect_file_chooser() as chooser:
        page.click("#choose")
    chooser.value.set_files(sorted(room_folder.rglob("*.png"))[4])
    page.wait_for_selector(".hit")


def names(page):
    return page.locator(".hit .facts .name").all_text_contents()


def wait_for_new_hits(page, act):
    with page.expect_response(re.compile("/search$")):
        act()
    page.wait_for_selector("#grid:not([aria-busy]) .hit")


def painted(page, selector):
    """Number of pixels of a canvas that are not transparent."""
    return page.locator(selector).evaluate(
        "canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)"
        ".data.filter((value, i) => i % 4 === 3 && value > 8).length"
    )


def wait_until_painted(page, selector):
    page.wait_for_function("selector => document.querySelector(selector).width > 300", arg=selector)
    assert painted(page, selector) > 500


def test_a_hit_shows_its_map_and_the_querys_map_while_pointed_at(searched):
    assert len(names(searched)) == 10  # itself, the same file, too
    why = searched.locator(".hit .why").first
    why.click()
    wait_until_painted(searched, ".hit:first-child canvas")
    wait_until_painted(searched, "#query-heat")
    why.click()
    assert painted(searched, ".hit:first-child canvas") == 0
    searched.mouse.move(5, 5)
    assert painted(searched, "#query-heat") == 0


def test_pointing_at_a_cell_shows_its_counterpart(searched):
    searched.locator(".hit").first.get_by_text("Compare").click()
    wait_until_painted(searched, "#left canvas")
    wait_until_painted(searched, "#right canvas")
    area = searched.locator("#left").bounding_box()
    assert area["width"] > 500
    searched.mouse.move(area["x"] + area["width"] * 0.3, area["y"] + area["height"] * 0.4)
    searched.wait_for_selector("#right .cell:visible")
    searched.wait_for_selector("#left .cell:visible")
    assert painted(searched, "#left canvas") == 0
    first = searched.locator("#right .cell").get_attribute("style")
    searched.locator("#right").hover(position={"x": 400, "y": 40})
    searched.wait_for_function("() => document.querySelector('#right canvas').width < 2")
    assert searched.locator("#right .cell").get_attribute("style") != first
    searched.locator("#opacity").fill("20")
    assert searched.locator("#left canvas").evaluate("c => getComputedStyle(c).opacity") == "0.2"
    searched.click("#next")
    assert searched.locator("#compare-title").text_content().startswith("2.")
    searched.keyboard.press("Escape")
    assert not searched.locator("#compare").is_visible()


def test_what_all_pictures_share_can_be_left_out_of_the_maps(searched):
    searched.locator(".hit").first.get_by_text("Compare").click()
    wait_until_painted(searched, "#left canvas")
    assert "shared with all" not in searched.locator("#compare-note").text_content()
    whole = searched.locator("#left canvas").evaluate("canvas => canvas.toDataURL()")
    with searched.expect_response(re.compile("contrast=true")):
        searched.get_by_label("Beyond what all share").check()
    searched.get_by_text("shared with all").wait_for()
    assert searched.locator("#left canvas").evaluate("canvas => canvas.toDataURL()") != whole
    with searched.expect_response(re.compile("contrast=true")):
        searched.click("#next")
    searched.get_by_label("Beyond what all share").uncheck()
    searched.get_by_text("Each map sums to the similarity.").wait_for()


def test_a_box_on_the_query_changes_the_hits(searched):
    before = searched.locator(".hit .facts b").all_text_contents()
    area = searched.locator("#query-frame").bounding_box()

    def drag():
        searched.mouse.move(area["x"] + area["width"] * 0.1, area["y"] + area["height"] * 0.1)
        searched.mouse.down()
        searched.mouse.move(area["x"] + area["width"] * 0.6, area["y"] + area["height"] * 0.5, steps=4)
        searched.mouse.up()

    wait_for_new_hits(searched, drag)
    assert searched.locator("#heading").text_content() == "Matches for this region"
    by_part = searched.locator(".hit .facts b").all_text_contents()
    assert by_part != before
    wait_for_new_hits(searched, lambda: searched.keyboard.press("Escape"))
    assert searched.locator(".hit .facts b").all_text_contents() == before


def test_reranking_shows_which_hits_moved(searched):
    before = names(searched)
    wait_for_new_hits(searched, lambda: searched.select_option("#rerank", "k-reciprocal"))
    after = names(searched)
    assert sorted(after) == sorted(before)
    moves = searched.locator(".hit").evaluate_all(
        "all => all.map(c => c.querySelector('.moved')?.textContent ?? '')"
    )
    for rank, (name, move) in enumerate(zip(after, moves, strict=True)):
        by = before.index(name) - rank
        assert move == ("" if by == 0 else f"{'▲' if by > 0 else '▼'} {abs(by)}")
    assert any(moves)


def test_filters_work_and_their_errors_are_shown(searched):
    wait_for_new_hits(searched, lambda: _fill(searched, "#where", "label != 'x'"))
    with searched.expect_response(re.compile("/search$")):
        _fill(searched, "#where", "label ==")
    searched.wait_for_selector("#message.error")
    with searched.expect_response(re.compile("/search$")):
        _fill(searched, "#where", "label == 'nowhere'")
    searched.get_by_text("No match").wait_for()


def _fill(page, selector, text):
    page.fill(selector, text)
    page.keyboard.press("Enter")


def test_everything_can_be_done_with_the_keyboard(open_page):
    page = open_page(viewport={"width": 1280, "height": 800})
    page.locator(".browse").first.focus()
    page.keyboard.press("ArrowRight")
    chosen = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("Enter")
    page.wait_for_selector(".hit")
    assert page.locator("#query-name").text_content() in chosen
    page.locator(".hit").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("w")
    page.wait_for_selector(".hit:focus canvas[width='640']")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("Enter")
    wait_until_painted(page, "#left canvas")
    page.locator("#left").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#right .cell:visible")
    page.keyboard.press("Escape")
    assert page.locator(".hit:focus").count() == 1


def test_space_chooses_a_card_and_tab_leaves_it(open_page):
    page = open_page(viewport={"width": 1280, "height": 800})
    page.locator(".browse").first.focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement === document.querySelectorAll('.browse')[1]")
    page.keyboard.press(" ")
    page.wait_for_selector(".hit")
    page.wait_for_selector("#heading:focus")  # the chosen card is gone, and the focus goes on from here


def test_a_region_is_searched_by_keys(searched):
    searched.locator("#query-frame").focus()
    wait_for_new_hits(searched, lambda: searched.keyboard.press("Enter"))
    assert searched.locator("#heading").text_content() == "Matches for this region"
    box = searched.locator("#query-box").bounding_box()
    searched.keyboard.press("ArrowRight")
    searched.keyboard.press("Shift+ArrowUp")
    after = searched.locator("#query-box").bounding_box()
    assert after["x"] > box["x"] and after["width"] == pytest.approx(box["width"], abs=1)
    assert after["y"] == pytest.approx(box["y"], abs=1) and after["height"] < box["height"] - 2
    wait_for_new_hits(searched, lambda: searched.keyboard.press("Enter"))
    wait_for_new_hits(searched, lambda: searched.keyboard.press("Escape"))
    assert searched.locator("#heading").text_content() == "Matches"


def test_a_filter_acts_while_browsing(open_page, room_folder):
    page = open_page(viewport={"width": 1280, "height": 800})
    label = next(folder.name for folder in room_folder.iterdir())
    page.locator(".browse").first.wait_for()
    assert set(page.locator(".browse .metadata").all_text_contents()) > {f"label: {label}"}
    _fill(page, "#where", f"label == '{label}'")
    others = page.locator(".browse .metadata").filter(has_not_text=f"label: {label}")
    playwright.expect(others).to_have_count(0)
    playwright.expect(page.locator(".browse .metadata").first).to_have_text(f"label: {label}")
    _fill(page, "#where", "label == 'nowhere'")
    page.get_by_text("No picture passes the filter.").wait_for()


@pytest.fixture(scope="module")
def long_names(tmp_path_factory, mini, room_folder):
    """Address of a server whose pictures have names as cameras and databases give them."""
    folder = tmp_path_factory.mktemp("long") / "a label of many words, as people write them, without end"
    folder.mkdir()
    names = ("3f2a9c0b7d1e4f5a6b7c" * 6, "Größe ü 6 - Mädchen 'am' Fenster" * 3, "a_b" * 60, "short")
    for name, source in zip(names, sorted(room_folder.rglob("*.png")), strict=False):
        (folder / f"{name}.png").write_bytes(source.read_bytes())
    gallery = Gallery.create(folder.parent / "a-gallery-with-a-rather-long-name.gallery", mini)
    gallery.add(folder, metadata=folder_labels(folder.parent))
    with serving(create_app(gallery)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("width", [320, 390, 683, 1366])  # 683 is 1366 at 200 %
def test_long_names_stay_in_their_cards(browser, long_names, width):
    with browser.new_context(viewport={"width": width, "height": 800}) as context:
        page = context.new_page()
        page.goto(long_names)
        page.wait_for_selector(".browse")
        for selector in (".browse", ".hit"):
            if selector == ".hit":
                page.locator(".browse").first.click()
                page.wait_for_selector(".hit")
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            cards = [card.bounding_box() for card in page.locator(selector).all()]
            assert all(card["x"] >= 0 and card["x"] + card["width"] <= width for card in cards)
            for a, b in itertools.pairwise(cards):
                assert a["x"] + a["width"] <= b["x"] or a["y"] + a["height"] <= b["y"]
            inner = "all => all.every(card => card.scrollWidth <= card.clientWidth)"
            assert page.locator(selector).evaluate_all(inner)
        page.locator(".hit").first.get_by_text("Compare").click()
        assert page.locator("#compare").evaluate("dialog => dialog.scrollWidth <= dialog.clientWidth")


def test_touch_targets_are_large_enough(open_page, room_folder):
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    search_with(page, room_folder)
    page.get_by_text("Search settings").tap()
    small = "all => all.filter(e => e.offsetParent && e.offsetHeight < 44).map(e => e.id || e.className)"
    assert page.locator("button, select, input[type=number], input[type=text]").evaluate_all(small) == []


def test_the_report_is_downloaded(searched):
    with searched.expect_download() as download:
        searched.click("#report")
    assert "SHA-256" in Path(download.value.path()).read_text()


def test_the_map_of_a_removed_hit_is_cleared_from_the_query(searched):
    searched.locator(".hit").first.hover()
    wait_until_painted(searched, "#query-heat")
    with searched.expect_response(re.compile("/search$")):
        searched.locator("#where").evaluate(
            "field => { field.value = \"label == 'nowhere'\";"
            " field.dispatchEvent(new Event('change', {bubbles: true})); }"
        )
    searched.get_by_text("No match").wait_for()
    assert painted(searched, "#query-heat") == 0


def test_a_phone_shows_everything_without_scrolling_sideways(open_page, room_folder):
    page = open_page(viewport={"width": 390, "height": 844}, color_scheme="dark", has_touch=True)
    search_with(page, room_folder)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert not page.locator("#rerank").is_visible()
    page.get_by_text("Search settings").tap()
    assert page.locator("#rerank").is_visible()
    page.locator(".hit").first.get_by_text("Compare").tap()
    wait_until_painted(page, "#right canvas")
    assert page.locator("#compare").evaluate("dialog => dialog.scrollWidth <= dialog.clientWidth")
    page.locator("#left").tap(position={"x": 100, "y": 60})
    page.wait_for_selector("#right .cell:visible")


def test_a_file_that_is_not_an_image_shows_an_error(open_page, tmp_path):
    page = open_page()
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"nothing of the kind")
    page.set_input_files("#file", bad)
    assert "not an image" in page.locator("#message.error").text_content()
    assert page.locator(".browse").count() == 10  # what was there stays


def test_levels_and_nodes_of_a_graph_are_drawn_when_they_are_chosen(open_page, graph_address, room_folder):
    page = open_page(graph_address, viewport={"width": 1280, "height": 900})
    page.select_option("#rerank", "avsl")
    search_with(page, room_folder)
    page.locator(".hit .stage").nth(1).click()
    page.wait_for_selector("#graph button")
    assert "similarity by avsl" in page.text_content("#compare-facts")
    labels = page.locator("#graph .graph-line").first.locator("button").all_text_contents()
    assert [label.split("  ")[0] for label in labels] == ["All levels", "Level 3", "Level 2", "Level 1"]

    def picture():
        return page.locator("#left canvas").evaluate("canvas => canvas.toDataURL()")

    whole, drawn = picture(), set()
    for label in ("Level 3", "Level 2", "Level 1"):
        page.click(f"#graph button:has-text('{label}')")
        assert page.text_content("#compare-note").startswith(f"{label} of 3: reliability")
        drawn.add(picture())
    assert len(drawn | {whole}) == 4
    chain = page.locator("#graph .graph-line").nth(2).locator("button")
    assert chain.count() == 3
    chain.nth(1).click()
    assert re.match(r"Node \d+ of level 2: value", page.text_content("#compare-note"))
    assert chain.nth(1).get_attribute("aria-pressed") == "true"
    page.hover("#left")
    page.wait_for_function("() => document.querySelector('#compare-note').textContent.includes('this cell')")
    page.mouse.move(5, 5)
    assert page.text_content("#compare-note").startswith("Node ")  # the node's maps are back
    page.click("#graph button:has-text('All levels')")
    assert picture() == whole
    wait_for_new_hits(page, lambda: (page.click("#close"), page.select_option("#rerank", "aqe")))
    page.locator(".hit .stage").nth(1).click()
    page.wait_for_selector("#graph", state="hidden")
