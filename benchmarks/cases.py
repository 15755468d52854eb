"""How a case feels: clicks and seconds from a wall photograph to the file, and a case of 2,000 pairs opened.

    python benchmarks/cases.py PAINTINGS_FOLDER PHOTOGRAPH LEFT,TOP,RIGHT,BOTTOM

Indexes the paintings with mini, serves them, and drives Chromium: the photograph is dropped, the painting is
boxed, the first hit decided, the case exported. Then a case with 2,000 decided pairs is opened from the
file, over HTTP and on the page. Prints what it counts; needs the extra web and playwright.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from lookalike.gallery import CaseFile, Gallery
from lookalike.gallery.cases.pairs import CasePicture, Found
from lookalike.web import create_app

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from made_server import serving

CHROMIUM = "/usr/bin/chromium"
N_QUERIES, N_HITS = 100, 20
COUNT = "window.presses = 0; addEventListener('pointerdown', () => window.presses++, true)"


def fill(case: CaseFile, gallery: Gallery) -> None:
    """Add 100 queries with 20 hits each, and decide about every pair."""
    records = gallery.records()
    for i in range(N_QUERIES):
        own = records[i % len(records)]
        hits = [
            {
                "sha256": records[(i + j + 1) % len(records)].hash,
                "name": Path(records[(i + j + 1) % len(records)].path).name,
                "similarity": 0.9 - 0.01 * j,
                "rank": j + 1,
            }
            for j in range(N_HITS)
        ]
        query = CasePicture(own.hash, Path(own.path).name)
        found = Found(query, (1, 2, 30 + i, 40), None, "shares", "mini", "f" * 64, {"k": N_HITS}, hits)
        case.add_found(found)
    for i, pair in enumerate(case.decisions()):
        case.decide(pair, ("same", "different", "unsure")[i % 3], note="as seen", who="anna")


def decide_on_page(page: Page, photograph: Path, box: tuple[float, ...], folder: Path) -> None:
    """From the drop to the file, with clicks alone."""
    start = time.perf_counter()
    page.set_input_files("#file", photograph)
    page.wait_for_selector("#grid:not([aria-busy]) .hit")
    area = page.locator("#query-frame").bounding_box()
    natural = page.locator("#query-image").evaluate("image => image.naturalWidth")
    assert area is not None
    scale = area["width"] / natural
    with page.expect_response(lambda answer: answer.url.endswith("/search")):
        page.mouse.move(area["x"] + box[0] * scale, area["y"] + box[1] * scale)
        page.mouse.down()
        page.mouse.move(area["x"] + box[2] * scale, area["y"] + box[3] * scale, steps=4)
        page.mouse.up()
    page.wait_for_selector("#grid:not([aria-busy]) .hit")
    found = page.locator(".hit .facts .name").first.text_content()
    page.locator(".hit").first.get_by_role("button", name="Same").click()
    page.wait_for_selector(".hit[data-verdict=same]")
    with page.expect_download() as download:
        page.click("#export-case")
    download.value.save_as(folder / "case.html")
    seconds, size = time.perf_counter() - start, (folder / "case.html").stat().st_size
    print(
        f"found {found}; from the drop to the file: {page.evaluate('window.presses')} clicks, {seconds:.1f} s"
    )
    print(f"the file has {size / 1024:.0f} KiB")


def main() -> None:
    """Print the counts and times."""
    paintings, photograph = Path(sys.argv[1]), Path(sys.argv[2])
    box = tuple(float(side) for side in sys.argv[3].split(","))
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as started:
        folder = Path(name)
        gallery = Gallery.create(folder / "paintings.gallery")
        gallery.add(paintings)
        case = gallery.case("large")
        start = time.perf_counter()
        fill(case, gallery)
        print(f"2,000 decisions written one by one: {time.perf_counter() - start:.1f} s")
        start = time.perf_counter()
        n = len(gallery.case("large").decisions())
        print(f"{n:,} pairs opened from the file: {time.perf_counter() - start:.2f} s")
        browser = started.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        with serving(create_app(gallery)) as port:
            page = browser.new_context(viewport={"width": 1366, "height": 900}).new_page()
            page.set_default_timeout(120_000)  # also on a machine that is busy
            page.add_init_script(COUNT)
            page.goto(f"http://127.0.0.1:{port}/")
            page.wait_for_selector(".browse")
            decide_on_page(page, photograph, box, folder)
            start = time.perf_counter()
            page.goto(f"http://127.0.0.1:{port}/?case=large&view=case")
            page.wait_for_selector(".pair-card")
            print(f"{n:,} pairs opened on the page: {time.perf_counter() - start:.2f} s")
        browser.close()


if __name__ == "__main__":
    main()
