"""The whole job on the page, in Chromium: from a wall photograph to the file of a case, clicks and seconds.

    python benchmarks/cases.py [--photographs 12] [--model mini]

The first of the museum wall photographs (paintings, qsd2), whose painting is one of 287 that are indexed.
For each, on a page and in a case of its own: the photograph is dropped, the painting boxed by the box of its
mask, and the right hit said to be the same; where it is not among the 24 shown, the hits are re-ranked by
geometry first; then the case is exported. Clicks are presses of the pointer; choosing a re-ranker counts two.
Seconds are those of the machine from the drop to the file: nobody looks or thinks. The file is checked to
hold the decided pair. Needs the extras web and geometry, and playwright.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from environment import add_shared, describe_run, parser_of
from made_page import CHROMIUM, serving
from playwright.sync_api import Page, sync_playwright
from walls import Case, museum_cases

from lookalike.gallery import Gallery
from lookalike.web import create_app

COUNT = "window.presses = 0; addEventListener('pointerdown', () => window.presses++, true)"
HITS = "#grid:not([aria-busy]) .hit"
CLICKS_OF_A_MENU = 2  # open it and choose; the script sets the value without a press


@dataclass(frozen=True)
class Done:
    """One job."""

    rank: int | None  # of the right painting by its box; None: not among those shown
    again: int | None  # after re-ranking by geometry, where it was needed
    clicks: int
    seconds: float
    size: int  # bytes of the file
    is_handed_over: bool  # whether the right painting was decided and is in the file


def right_rank(page: Page, case: Case) -> int | None:
    """Rank from 1 of the first hit that shows the painting."""
    names = page.locator(".hit .facts .name").all_text_contents()
    return next((rank for rank, name in enumerate(names, start=1) if name in case.right), None)


def draw_box(page: Page, box: tuple[int, int, int, int]) -> None:
    """Drag from the one corner of a box, in pixels of the photograph, to the other."""
    area = page.locator("#query-frame").bounding_box()
    natural = page.locator("#query-image").evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert area is not None
    x, y = (
        [area[start] + side * area[size] / whole for side in box[at::2]]
        for at, start, size, whole in ((0, "x", "width", natural[0]), (1, "y", "height", natural[1]))
    )
    with page.expect_response(lambda answer: answer.url.endswith("/search")):
        page.mouse.move(x[0], y[0])
        page.mouse.down()
        page.mouse.move(x[1], y[1], steps=4)
        page.mouse.up()
    page.wait_for_selector(HITS)


def job(page: Page, case: Case, file: Path) -> Done:
    """From the drop to the file, by the pointer alone."""
    assert case.box is not None
    start, extra, again = time.perf_counter(), 0, None
    page.set_input_files("#file", case.image)
    page.wait_for_selector(HITS)
    draw_box(page, case.box)
    rank = right_rank(page, case)
    if rank is None:
        with page.expect_response(lambda answer: answer.url.endswith("/search")):
            page.select_option("#rerank", "geometry")
        page.wait_for_selector(HITS)
        again, extra = right_rank(page, case), CLICKS_OF_A_MENU
    chosen = rank or again
    if chosen is not None:
        hit = page.locator(".hit").nth(chosen - 1)
        hit.get_by_role("button", name="Same").click()
        page.wait_for_selector(".hit[data-verdict=same]")
        with page.expect_download() as download:
            page.click("#export-case")
        download.value.save_as(file)
    took = time.perf_counter() - start
    html = file.read_text() if chosen is not None else ""
    is_there = 'class="verdict same"' in html and any(name in html for name in case.right)
    clicks = page.evaluate("window.presses") + extra
    return Done(rank, again, clicks, took, len(html.encode()), is_there)


def main() -> None:
    """Print the table."""
    parser = parser_of(__doc__)
    add_shared(parser)
    parser.add_argument("--photographs", type=int, default=12)
    parser.add_argument("--model", default="mini")
    given = parser.parse_args()
    paintings = given.shared / "data/paintings"
    chosen = [case for case in museum_cases(paintings) if case.box is not None][: given.photographs]
    print(f"{describe_run()} · load {os.getloadavg()[0]:.0f}\n")
    print("| photograph | rank by box | by geometry | clicks | s | KiB | handed over |\n" + "|---" * 7 + "|")
    done: list[Done] = []
    with tempfile.TemporaryDirectory() as name, sync_playwright() as started:
        folder = Path(name)
        gallery = Gallery.create(folder / "paintings.gallery", given.model)
        gallery.add(paintings / "gallery")
        browser = started.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        with serving(create_app(gallery)) as port:
            for case in chosen:
                context = browser.new_context(viewport={"width": 1366, "height": 900})
                page = context.new_page()
                page.set_default_timeout(120_000)  # also on a machine that is busy
                page.add_init_script(COUNT)
                gallery.case(Path(case.photograph).stem)
                page.goto(f"http://127.0.0.1:{port}/?case={Path(case.photograph).stem}")
                page.wait_for_selector(".browse")
                one = job(page, case, folder / f"{case.photograph}.html")
                context.close()
                done.append(one)
                over = "yes" if one.is_handed_over else "no"
                print(
                    f"| {case.photograph} | {one.rank or 'over 24'} | {one.again or ''} | {one.clicks} "
                    f"| {one.seconds:.1f} | {one.size / 1024:.0f} | {over} |",
                    flush=True,
                )
        browser.close()
    summarize(done)


def summarize(done: list[Done]) -> None:
    """Print what the jobs have in common."""
    over = [one for one in done if one.is_handed_over]
    print(f"\n{len(over)} of {len(done)} handed over; the first hit was right in ", end="")
    print(f"{sum(one.rank == 1 for one in done)}; load {os.getloadavg()[0]:.0f} at the end")
    if over:
        clicks, times = [one.clicks for one in over], [one.seconds for one in over]
        print(f"clicks: median {np.median(clicks):.0f}, most {max(clicks)}; ", end="")
        print(f"seconds: median {np.median(times):.1f}, most {max(times):.1f}")


if __name__ == "__main__":
    main()
