"""Words on the page: searches, a picture beside them, what is not wanted, maps, and the address."""

import re

import pytest

from lookalike.gallery import Gallery
from lookalike.web import create_app
from made_browser import IN_BROWSER
from made_image_text import save_transformers
from made_server import serving

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def worded(room_folder, tmp_path_factory):
    """A gallery of an image-text model."""
    gallery = Gallery.in_memory(save_transformers(tmp_path_factory.mktemp("model"), "clip"))
    gallery.add(room_folder, workers=0)
    return gallery


@pytest.fixture(scope="module")
def words_address(worded, gallery):
    with serving(create_app({"worded": worded, "plain": gallery})) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def page(browser, words_address):
    problems = []
    with browser.new_context(viewport={"width": 1366, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(words_address)
        page.wait_for_selector(".browse")
        yield page
    assert not problems


def ask(page, words):
    page.fill("#text", words)
    after_search(page, lambda: page.keyboard.press("Enter"))


def after_search(page, act):
    with page.expect_response(re.compile("/search$")):
        act()
    page.wait_for_selector("#grid:not([aria-busy]) .hit")


def shown(page):
    return [card.get_attribute("data-id") for card in page.locator(".hit").all()]


def drawing(page, selector):
    return page.locator(selector).evaluate("canvas => canvas.toDataURL()")


def test_words_find_what_the_library_finds_and_keep_the_focus(page, worded):
    ask(page, "red sofa")
    assert shown(page) == [hit.id for hit in worded.search(text="red sofa", k=24)]
    assert page.evaluate("document.activeElement.id") == "text"
    expect(page.locator("#heading")).to_have_text("Matches for “red sofa”")
    assert page.locator(".verdicts").count() == 0  # a case holds pairs of pictures
    expect(page.locator("#no-verdicts")).to_be_visible()
    page.fill("#text", "")
    page.keyboard.press("Enter")
    page.wait_for_selector(".browse")


def test_why_maps_all_the_words_and_each_by_itself(page, worded):
    ask(page, "red sofa")
    card = page.locator(".hit").first
    card.focus()
    page.keyboard.press("w")
    card.locator(".parts").wait_for()
    why = worded.search(text="red sofa", k=1)[0].why()
    values = [why.similarity, *(part.value for part in why.parts)]
    labels = [text.split() for text in card.locator(".parts button").all_text_contents()]
    assert [label for label, _ in labels] == ["all", "red", "sofa"]
    assert [float(value) for _, value in labels] == pytest.approx(values, abs=5e-4)
    whole = drawing(page, ".hit canvas >> nth=0")
    card.get_by_role("button", name="sofa").click()
    sofa = drawing(page, ".hit canvas >> nth=0")
    assert sofa != whole
    card.get_by_role("button", name="all").click()
    assert drawing(page, ".hit canvas >> nth=0") == whole
    card.get_by_text("Why").click()
    expect(card.locator(".parts")).to_have_count(0)


def test_compare_shows_the_hit_alone_with_its_words(page):
    ask(page, "red sofa")
    page.locator(".hit").first.get_by_text("Compare").click()
    page.get_by_text("The map sums to the similarity").wait_for()
    expect(page.locator("#left")).to_be_hidden()
    expect(page.locator("#split")).to_be_hidden()
    whole = drawing(page, "#right canvas")
    page.locator("#parts").get_by_role("button", name="red").click()
    expect(page.locator("#compare-note")).to_contain_text("Without “red” the similarity would be")
    assert drawing(page, "#right canvas") != whole
    page.locator("#right").hover()  # cells of words can't be compared
    expect(page.locator("#compare-note")).to_contain_text("Without “red”")
    page.keyboard.press("j")
    expect(page.locator("#compare-title")).to_contain_text("2. ")


def test_a_picture_beside_the_words_has_a_weight_and_what_is_not_wanted_counts(page, worded, room_folder):
    files = sorted(room_folder.rglob("*.png"))
    ask(page, "stripes")
    assert not page.locator("#weight").is_visible()
    after_search(page, lambda: page.set_input_files("#file", files[4]))
    slider = page.get_by_role("slider", name="Weight of the words beside the picture")
    assert slider.get_attribute("aria-valuetext") == "50 % words, 50 % picture"
    slider.focus()
    for _ in range(4):
        after_search(page, lambda: page.keyboard.press("ArrowRight"))
    unwanted = shown(page)[1]
    after_search(page, lambda: page.locator(".hit").nth(1).get_by_text("Not like this").click())
    page.fill("#unlike-text", "noise")
    after_search(page, lambda: page.click("#add-unlike"))
    direct = worded.search(files[4], text="stripes", weight=0.7, unlike=[unwanted, "noise"], k=24)
    assert shown(page) == [hit.id for hit in direct]
    expect(page.locator("#heading")).to_contain_text(
        "the picture and “stripes”, not like “noise” or a picture"
    )
    after_search(page, lambda: page.get_by_role("button", name="Remove noise").click())
    less = worded.search(files[4], text="stripes", weight=0.7, unlike=[unwanted], k=24)
    assert shown(page) == [hit.id for hit in less]


def test_the_address_holds_the_words_for_reload_back_and_a_link(page, browser):
    ask(page, "red sofa")
    first = shown(page)
    page.locator("#unlike-options summary").click()
    page.fill("#unlike-text", "window")
    after_search(page, lambda: page.click("#add-unlike"))
    second = shown(page)
    after_search(page, page.reload)
    assert shown(page) == second and page.input_value("#text") == "red sofa"
    with browser.new_context() as other:
        sent = other.new_page()
        sent.goto(page.url)
        sent.wait_for_selector(".hit")
        assert shown(sent) == second
        expect(sent.locator("#unlike")).to_contain_text("window")
    after_search(page, page.go_back)
    assert shown(page) == first and page.locator(".unlike-chip").count() == 0


def test_a_gallery_without_a_text_tower_says_so_in_place_of_the_field(page):
    expect(page.locator("#text")).to_be_visible()
    ask(page, "red sofa")
    page.select_option("#gallery", "plain")
    page.wait_for_selector(".browse")
    expect(page.locator("#text")).to_be_hidden()
    expect(page.locator("#no-words")).to_have_text(re.compile("can't be searched by words: its model, mini,"))
