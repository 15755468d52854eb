"""A case in a real browser: from a photograph to a file that can be handed over, by clicks and by keys."""

import re
from pathlib import Path

import pytest

from lookalike.gallery import Gallery, folder_labels
from lookalike.web import create_app
from made_browser import IN_BROWSER
from made_server import serving

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
DECIDED = re.compile("/(decisions|undo)$")

pytestmark = IN_BROWSER


@pytest.fixture
def galleries(room_folder, mini, tmp_path):
    made = {}
    for name in ("rooms", "again"):
        made[name] = Gallery.create(tmp_path / f"{name}.gallery", mini)
        made[name].add(room_folder, metadata=folder_labels(room_folder), workers=0)
    return made


@pytest.fixture
def page(browser, galleries):
    """A page of two galleries of its own, in which every press of the pointer is counted."""
    problems = []
    with serving(create_app(galleries)) as port, browser.new_context() as context:
        context.add_init_script(
            "window.presses = 0; addEventListener('pointerdown', () => window.presses++, true)"
        )
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector(".browse")
        yield page
    assert not problems


def search_with(page, room_folder, number=4):
    page.set_input_files("#file", sorted(room_folder.rglob("*.png"))[number])
    page.wait_for_selector("#grid:not([aria-busy]) .hit")


def drag(page, left, top, right, bottom):
    area = page.locator("#query-frame").bounding_box()
    x, y = (lambda f: area["x"] + area["width"] * f), (lambda f: area["y"] + area["height"] * f)
    with page.expect_response(re.compile("/search$")):
        page.mouse.move(x(left), y(top))
        page.mouse.down()
        page.mouse.move(x(right), y(bottom), steps=4)
        page.mouse.up()
    page.wait_for_selector("#grid:not([aria-busy]) .hit")


def press(page, key):
    with page.expect_response(DECIDED):
        page.keyboard.press(key)


def test_from_the_photograph_to_the_file_in_four_clicks(page, room_folder, tmp_path):
    search_with(page, room_folder)  # as by a drop
    drag(page, 0.1, 0.1, 0.7, 0.7)
    with page.expect_response(DECIDED):
        page.locator(".hit").first.get_by_role("button", name="Same").click()
    expect(page.locator(".hit").first).to_have_attribute("data-verdict", "same")
    expect(page.locator("#case-count")).to_contain_text("1 of 10 decided")
    with page.expect_download() as download:
        page.click("#export-case")
    html = Path(download.value.path()).read_text()
    assert 'class="verdict same"' in html and "box " in html and html.count("SHA-256") >= 2
    assert page.evaluate("window.presses") <= 4


def test_verdicts_by_keys_are_in_the_case_and_undone(page, galleries, room_folder):
    search_with(page, room_folder)
    page.keyboard.press("j")
    press(page, "1")
    page.keyboard.press("j")
    press(page, "2")
    page.keyboard.press("j")
    page.keyboard.press("k")
    press(page, "3")
    chosen = [page.locator(".hit").nth(i).locator('.verdict[aria-pressed="true"]') for i in (0, 1)]
    for button, label in zip(chosen, ("Same", "Unsure"), strict=True):
        expect(button).to_have_text(label)
    press(page, "u")
    expect(chosen[1]).to_have_text("Different")
    (name,) = galleries["rooms"].cases()
    pairs = galleries["rooms"].case(name).decisions()
    assert [pair.verdict for pair in pairs[:3]] == ["same", "different", None] and len(pairs) == 10
    press(page, "2")  # the same verdict again takes it back
    expect(chosen[1]).to_have_count(0)


def test_notes_tags_and_the_persons_name_are_kept(page, galleries, room_folder):
    page.fill("#person", "anna")
    search_with(page, room_folder)
    page.locator(".hit").first.focus()
    press(page, "1")
    page.keyboard.press("n")
    page.keyboard.type("the same crack 1 2 3")
    with page.expect_response(DECIDED):
        page.keyboard.press("Tab")
    page.keyboard.type("frame, sure")
    with page.expect_response(DECIDED):
        page.keyboard.press("Tab")
    expect(page.locator(".hit .said").first).to_have_text("the same crack 1 2 3 · #frame · #sure · by anna")
    pair = galleries["rooms"].case(galleries["rooms"].cases()[0]).decisions("same")[0]
    assert (pair.note, pair.tags, pair.who) == ("the same crack 1 2 3", ("frame", "sure"), "anna")
    page.reload()
    page.wait_for_selector(".hit")
    expect(page.locator("#person")).to_have_value("anna")
    expect(page.locator(".hit .said").first).to_contain_text("the same crack")


def test_the_address_holds_what_is_shown_for_reload_back_and_a_link(page, room_folder, browser):
    search_with(page, room_folder)
    whole = page.locator(".hit .facts b").all_text_contents()
    drag(page, 0.1, 0.1, 0.6, 0.6)
    by_box = page.locator(".hit .facts b").all_text_contents()
    page.locator(".hit").first.focus()
    press(page, "1")
    with page.expect_response(re.compile("/search$")):
        page.select_option("#rerank", "k-reciprocal")
    expect(page).to_have_url(re.compile("rerank=k-reciprocal"))
    with browser.new_context() as other:
        sent = other.new_page()
        sent.goto(page.url)
        sent.wait_for_selector(".hit")
        expect(sent.locator("#rerank")).to_have_value("k-reciprocal")
        expect(sent.locator("#query-box")).to_be_visible()
        expect(sent.locator(".hit[data-verdict=same]")).to_have_count(1)
        expect(sent.locator("#query-name")).to_have_text(page.locator("#query-name").text_content())
    page.go_back()
    expect(page.locator("#rerank")).to_have_value("")
    expect(page.locator(".hit .facts b")).to_have_text(by_box)
    page.reload()
    expect(page.locator(".hit .facts b")).to_have_text(by_box)
    page.go_back()
    expect(page.locator(".hit .facts b")).to_have_text(whole)
    assert not page.locator("#query-box").is_visible()
    page.go_back()
    page.wait_for_selector(".browse")


def test_several_regions_stay_on_one_photograph(page, room_folder):
    search_with(page, room_folder)
    drag(page, 0.05, 0.05, 0.5, 0.5)
    first = page.locator(".hit .facts b").all_text_contents()
    drag(page, 0.5, 0.4, 0.95, 0.9)
    expect(page.locator("#query-shapes polygon")).to_have_count(2)
    expect(page.get_by_role("button", name="Box 2", exact=True)).to_have_attribute("aria-pressed", "true")
    with page.expect_response(re.compile("/search$")):
        page.get_by_role("button", name="Box 1", exact=True).click()
    expect(page.locator(".hit .facts b")).to_have_text(first)
    with page.expect_response(re.compile("/search$")):
        page.get_by_role("button", name="Remove Box 1").click()
    expect(page.locator("#query-shapes polygon")).to_have_count(1)
    expect(page.locator("#heading")).to_have_text("Matches")


def test_a_polygon_is_drawn_by_clicks_and_by_keys(page, room_folder):
    search_with(page, room_folder)
    page.click("#enlarge")
    page.locator("#query-frame").press("p")
    area = page.locator("#query-frame").bounding_box()
    assert area["width"] > 700
    for x, y in ((0.2, 0.2), (0.7, 0.25), (0.4, 0.8)):
        page.mouse.click(area["x"] + area["width"] * x, area["y"] + area["height"] * y)
    with page.expect_request(re.compile("/search$")) as request:
        page.keyboard.press("Enter")
    corners = request.value.post_data_json["polygon"]
    size = (200, 150)
    assert corners == [
        [pytest.approx(fraction * side, abs=1.5) for fraction, side in zip(corner, size, strict=True)]
        for corner in ((0.2, 0.2), (0.7, 0.25), (0.4, 0.8))
    ]
    page.click("#close-large")
    expect(page.locator("#heading")).to_have_text("Matches for this region")
    page.locator("#query-place #query-frame").focus()
    page.keyboard.press("p")
    for keys in ("ArrowLeft", "ArrowRight ArrowRight ArrowRight", "ArrowDown ArrowDown ArrowDown"):
        for key in keys.split():
            page.keyboard.press(key)
        page.keyboard.press("Space")
    with page.expect_request(re.compile("/search$")) as request:
        page.keyboard.press("Enter")
    assert len(request.value.post_data_json["polygon"]) == 3
    expect(page.get_by_role("button", name="Polygon 2", exact=True)).to_have_attribute("aria-pressed", "true")
    page.locator(".hit").first.get_by_text("Compare").click()
    page.get_by_text("Each map sums to the similarity").wait_for()


def test_undecided_only_hides_what_was_decided_and_goes_on(page, room_folder):
    search_with(page, room_folder)
    page.check("#undecided")
    names = page.locator(".hit .facts .name").all_text_contents()
    page.locator(".hit").first.focus()
    press(page, "1")
    expect(page.locator(".hit").first).to_be_hidden()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(f"2: {names[1]}")
    page.click("#show-case")
    expect(page.locator("#heading")).to_contain_text("Case: ")
    expect(page.locator(".pair-card")).to_have_count(9)
    page.uncheck("#undecided")
    expect(page.locator(".pair-card")).to_have_count(10)
    page.locator(".pair-card").first.press("Enter")
    page.wait_for_selector(".hit")
    assert page.locator(".hit .facts .name").all_text_contents() == names


def test_verdicts_are_examples_for_the_next_search_if_asked(page, room_folder):
    search_with(page, room_folder)
    before = page.locator(".hit .facts b").all_text_contents()
    page.locator(".hit").nth(2).focus()
    press(page, "1")
    with page.expect_response(re.compile("/search$")):
        page.check("#learn")
    expect(page.locator("#examples")).to_contain_text("1 the same, 0 different")
    assert page.locator(".hit .facts b").all_text_contents() != before
    page.locator(".hit").first.get_by_text("Compare").click()
    page.get_by_text("1 liked").wait_for()


def test_the_query_is_kept_when_the_gallery_changes(page, room_folder):
    search_with(page, room_folder)
    drag(page, 0.1, 0.1, 0.6, 0.6)
    before = page.locator(".hit .facts b").all_text_contents()
    with page.expect_response(re.compile("/galleries/again/search$")):
        page.select_option("#gallery", "again")
    expect(page.locator(".hit .facts b")).to_have_text(before)
    page.locator(".hit").nth(2).get_by_text("Search with this").click()
    with page.expect_response(re.compile("/galleries/rooms/search$")):
        page.select_option("#gallery", "rooms")
    expect(page.locator("#query-image")).to_have_js_property("complete", True)
    expect(page.locator("#heading")).to_have_text("Matches")


def test_a_case_is_begun_by_name_and_its_refusal_is_shown(page, galleries):
    page.select_option("#case", label="New case…")
    page.fill("#case-name", "wall photographs")
    page.keyboard.press("Enter")
    expect(page.locator("#case")).to_have_value("wall photographs")
    assert galleries["rooms"].cases() == ["wall photographs"]
    page.select_option("#case", label="New case…")
    page.fill("#case-name", "../x")
    page.keyboard.press("Enter")
    expect(page.locator("#message.error")).to_contain_text("a case's name has up to 80")


def test_a_damaged_case_is_named_with_what_is_wrong_and_cannot_be_chosen(page, galleries):
    (galleries["rooms"].case("sound").file.parent / "cut.sqlite").write_bytes(b"")
    page.goto(page.url.split("?")[0] + "?gallery=rooms&case=cut")
    expect(page.locator("#case-damage")).to_contain_text("cut: ")
    expect(page.locator("#case-damage")).to_contain_text("is empty")
    expect(page.locator("#case")).to_have_value("")
    assert page.locator("#case option:disabled").all_inner_texts() == ["cut (can't be read)"]


def test_every_control_has_a_name_and_can_be_reached_by_tab(page, room_folder):
    search_with(page, room_folder)
    page.locator(".hit").first.focus()
    press(page, "1")
    for view in ("hits", "compare"):
        if view == "compare":
            page.locator(".hit").first.get_by_text("Compare").click()
            page.get_by_text("Each map sums").wait_for()
        scope = "#compare" if view == "compare" else "main"
        controls = f"{scope} :is(button, input, select, textarea, [tabindex='0'])"
        nameless = page.locator(controls).evaluate_all(
            "all => all.filter(e => e.offsetParent && e.type !== 'file').filter(e => !(e.ariaLabel || e.title"
            " || e.labels?.length || e.textContent.trim())).map(e => e.outerHTML)"
        )
        assert nameless == []
        wanted = page.locator(controls).evaluate_all(
            "all => all.filter(e => e.offsetParent && e.tabIndex >= 0 && !e.disabled).length"
        )
        page.locator(scope).evaluate("e => { e.setAttribute('tabindex', '-1'); e.focus(); }")
        reached = set()
        for _ in range(wanted + 5):
            page.keyboard.press("Tab")
            reached.add(
                page.evaluate(
                    "scope => { const all = [...document.querySelector(scope).querySelectorAll('*')];"
                    " return all.indexOf(document.activeElement); }",
                    scope,
                )
            )
        assert len(reached - {-1}) >= wanted
