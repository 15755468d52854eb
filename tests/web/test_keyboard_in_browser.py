"""A person who has no pointer gets from opening the page to a case that can be handed over."""

import re
from pathlib import Path

import pytest

from lookalike.gallery import Gallery, folder_labels
from lookalike.web import create_app
from made_browser import IN_BROWSER
from made_server import serving

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

pytestmark = IN_BROWSER

# Presses of a pointer, and clicks that no key made (those of keys have a detail of 0).
COUNT = (
    "window.presses = 0; addEventListener('pointerdown', () => window.presses++, true);"
    "addEventListener('click', (event) => (window.presses += event.detail), true)"
)
MOST_STOPS = 60


def tab_to(page, selector, *, back=False):
    """Press Tab until an element has the focus, and see that it is shown and that the focus can be seen."""
    for _ in range(MOST_STOPS):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            assert page.evaluate(
                "() => { const at = document.activeElement, look = getComputedStyle(at);"
                " const { top, bottom } = at.getBoundingClientRect();"
                " return at.matches(':focus-visible') && look.outlineStyle !== 'none'"
                " && bottom > 0 && top < innerHeight; }"
            ), f"the focus on {selector} can't be seen"
            return
    raise AssertionError(f"{MOST_STOPS} presses of Tab do not reach {selector}")


def press(page, key, answer):
    with page.expect_response(re.compile(answer)):
        page.keyboard.press(key)


def test_from_the_page_to_the_exported_case_by_keys_alone(browser, room_folder, mini, tmp_path):
    gallery = Gallery.create(tmp_path / "rooms.gallery", mini)
    gallery.add(room_folder, metadata=folder_labels(room_folder), workers=0)
    with serving(create_app(gallery)) as port, browser.new_context() as context:
        context.add_init_script(COUNT)
        page = context.new_page()
        page.set_default_timeout(30_000)
        choosers = []
        page.on("filechooser", lambda each: choosers.append(each))  # from the start: it takes a moment
        page.goto(f"http://127.0.0.1:{port}/")
        page.wait_for_selector(".browse")

        tab_to(page, "#choose")
        for _ in range(3):  # on a busy machine Chromium opens no dialog if the page comes late
            page.keyboard.press("Enter")
            for _ in range(20):
                page.wait_for_timeout(0 if choosers else 500)
            if choosers:
                break
        choosers[-1].set_files(sorted(room_folder.rglob("*.png"))[4])
        page.wait_for_selector("#grid:not([aria-busy]) .hit")

        tab_to(page, "#query-frame")
        for key in ("ArrowRight", "Shift+ArrowRight", "Shift+ArrowDown"):
            page.keyboard.press(key)
        with page.expect_request(re.compile("/search$")) as request:
            page.keyboard.press("Enter")
        assert request.value.post_data_json["box"] == pytest.approx([50, 37.5, 158, 118.5])  # of 200 x 150
        page.wait_for_selector("#grid:not([aria-busy]) .hit")
        expect(page.locator("#heading")).to_have_text("Matches for this region")

        page.keyboard.press("j")
        press(page, "Enter", "/explanation")
        expect(page.locator("#compare")).to_be_visible()
        page.get_by_text("Each map sums to the similarity").wait_for()
        press(page, "j", "/explanation")
        press(page, "1", "/decisions$")
        expect(page.locator("#compare .verdict.same")).to_have_attribute("aria-pressed", "true")
        page.keyboard.press("Escape")
        expect(page.locator("#compare")).to_be_hidden()
        expect(page.locator(".hit").nth(1)).to_be_focused()
        page.keyboard.press("k")
        press(page, "2", "/decisions$")
        expect(page.locator("#case-count")).to_contain_text("2 of 10 decided")

        tab_to(page, "#export-case", back=True)
        with page.expect_download() as download:
            page.keyboard.press("Enter")
        html = Path(download.value.path()).read_text()
        assert 'class="verdict same"' in html and 'class="verdict different"' in html
        assert page.evaluate("window.presses") == 0
