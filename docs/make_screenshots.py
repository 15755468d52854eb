"""Take the screenshots of the web page: uv run python docs/make_screenshots.py

They show the gallery of ``lookalike demo``, searched with the demo's query and box. Needs Chromium.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from playwright.sync_api import Browser, Page, sync_playwright

from lookalike.demo import DemoResult, run_demo
from lookalike.gallery import Gallery
from lookalike.web import create_app

IMAGES = Path(__file__).parent / "images"
CHROMIUM = Path("/usr/bin/chromium")
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
TIMEOUT = 120_000  # milliseconds


@contextmanager
def served(gallery: Path) -> Iterator[str]:
    """Serve the gallery and yield the URL."""
    config = uvicorn.Config(create_app({"rooms": Gallery.open(gallery)}), port=0, log_level="warning")
    server, listening = uvicorn.Server(config), config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()


def open_search(browser: Browser, address: str, query: Path, *, scheme: str, size: dict[str, int]) -> Page:
    """Open the page, search with the query and wait for the hits."""
    page = browser.new_page(viewport=size, color_scheme=scheme)
    page.set_default_timeout(TIMEOUT)
    page.goto(address)
    page.set_input_files("#file", query)
    wait_until_drawn(page)
    return page


def wait_until_drawn(page: Page) -> None:
    """Wait until the hits, their pictures and the requested maps are drawn."""
    page.wait_for_selector("#grid:not([aria-busy]) .hit")
    page.wait_for_selector(".why[aria-busy]", state="detached")
    page.locator(".hit .frame.loaded").nth(1).wait_for(state="attached")
    page.wait_for_timeout(1500)  # pictures further down are loaded when they come near


def save_screenshot(page: Page, name: str) -> None:
    """Save the visible part of the page as docs/images/web-NAME.jpg."""
    page.screenshot(path=IMAGES / f"web-{name}.jpg", type="jpeg", quality=86)
    print(f"wrote {IMAGES / f'web-{name}.jpg'}", flush=True)


def show_maps(page: Page, count: int) -> None:
    """Show the maps of the first hits and, by hovering, of the query."""
    for i in range(count):
        page.locator(".hit .why").nth(i).click()
    wait_until_drawn(page)
    page.locator(".hit").first.hover()  # shows the map of the query
    page.wait_for_timeout(300)


def drag_box(page: Page, box: tuple[int, int, int, int]) -> None:
    """Drag a box, given in pixels of the query picture, on the query."""
    area = page.locator("#query-frame").bounding_box()
    assert area is not None
    scale = page.locator("#query-image").evaluate("image => image.clientWidth / image.naturalWidth")
    left, top, right, bottom = (side * scale for side in box)
    corners = [(area["x"] + left, area["y"] + top), (area["x"] + right, area["y"] + bottom)]
    with page.expect_response(lambda answer: answer.url.endswith("/search")):
        page.mouse.move(*corners[0])
        page.mouse.down()
        page.mouse.move(*corners[1], steps=5)
        page.mouse.up()
    wait_until_drawn(page)


def compare(page: Page, hit: int) -> None:
    """Open the comparison with a hit and wait for its maps."""
    page.locator(".hit").nth(hit).get_by_text("Compare").click()
    painted = "() => ['#left', '#right'].every(s => document.querySelector(s + ' canvas').width > 300)"
    page.wait_for_function(painted)
    page.wait_for_timeout(1000)


def take_screenshots(browser: Browser, address: str, demo: DemoResult) -> None:
    """Search, compare and re-rank, saving a screenshot of each view."""
    query = demo.gallery.parent / "rooms" / demo.query
    page = open_search(browser, address, query, scheme="light", size=DESKTOP)
    show_maps(page, 5)
    save_screenshot(page, "search")
    compare(page, 0)
    save_screenshot(page, "compare")
    page.keyboard.press("Escape")
    drag_box(page, demo.box)
    show_maps(page, 3)
    save_screenshot(page, "region")

    page = open_search(browser, address, query, scheme="dark", size=DESKTOP)
    with page.expect_response(lambda answer: answer.url.endswith("/search")):
        page.select_option("#rerank", "k-reciprocal")
    wait_until_drawn(page)
    show_maps(page, 2)
    save_screenshot(page, "dark")

    page = open_search(browser, address, query, scheme="light", size=PHONE)
    show_maps(page, 4)
    page.evaluate("scrollTo(0, 160)")
    save_screenshot(page, "phone")


def main() -> None:
    """Make the demo's gallery and take all screenshots."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        demo = run_demo(Path(folder))
        browser = started.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        with served(demo.gallery) as address:
            take_screenshots(browser, address, demo)
        browser.close()


if __name__ == "__main__":
    main()
