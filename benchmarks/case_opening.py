"""How long large cases take to open: from the file, over HTTP, and on the page in Chromium.

    python benchmarks/case_opening.py [--pairs 200,2000,20000] [--pictures 60]

A gallery of generated rooms; cases of regions with 20 hits each, every third pair undecided. Each case is
opened five times on a new page; the table has medians. "Script and layout" is the processor time of the
page's main thread, which another program's load changes less than the clock: from the address to the first
cards. Requests are those for data and pictures until nothing is under way.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from environment import describe_run, parser_of
from made_page import CHROMIUM, serving
from playwright.sync_api import Browser, sync_playwright

from lookalike import scenes
from lookalike.gallery import CaseFile, Gallery
from lookalike.gallery.cases.pairs import CasePair, CasePicture, pair_id
from lookalike.web import create_app

N_HITS, TIMES = 20, 5


@dataclass(frozen=True)
class Opened:
    """One opening on the page."""

    seconds: float  # from the address to the first cards
    busy: float  # seconds of processor time of the page's main thread until then
    n_requests: int
    n_elements: int


def fill(case: CaseFile, gallery: Gallery, n_pairs: int) -> None:
    """Add pairs of a region with 20 hits each."""
    records, pairs = gallery.records(), []
    for number in range(n_pairs):
        region, j = divmod(number, N_HITS)
        query, hit = records[region % len(records)], records[(region + j + 1) % len(records)]
        box = (1.0, 2.0, 40.0, 30.0 + region)
        one, other = (CasePicture(each.hash, Path(each.path).name) for each in (query, hit))
        pairs.append(
            CasePair(
                pair_id(query.hash, box, None, hit.hash), one, box, None, other, 0.9 - 0.01 * j, None, j + 1,
                "shares", "mini", "f" * 64, {"k": N_HITS}, {},
                ("same", "different", None)[number % 3], "as seen", (), "anna", "2026-01-01T00:00:00.000Z",
            )
        )  # fmt: skip
    case.import_decisions(pairs)


def opened(browser: Browser, address: str) -> Opened:
    """Open a case on a page of its own."""
    context = browser.new_context(viewport={"width": 1366, "height": 900})
    page = context.new_page()
    page.set_default_timeout(120_000)
    session, requests = context.new_cdp_session(page), []
    session.send("Performance.enable")
    page.on("request", lambda request: requests.append(request.url))
    start = time.perf_counter()
    page.goto(address)
    page.wait_for_selector(".pair-card")
    took = time.perf_counter() - start
    values = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
    page.wait_for_load_state("networkidle")
    n_elements = page.evaluate("document.querySelectorAll('*').length")
    context.close()
    return Opened(took, values["TaskDuration"], sum("/api/" in url for url in requests), n_elements)


def row(browser: Browser, gallery: Gallery, port: int, n_pairs: int) -> str:
    """One row of the table."""
    name = f"pairs {n_pairs}"
    fill(gallery.case(name), gallery, n_pairs)
    start = time.perf_counter()
    assert len(gallery.case(name).decisions()) == n_pairs
    from_file = time.perf_counter() - start
    all_ = [opened(browser, f"http://127.0.0.1:{port}/?case={name}&view=case") for _ in range(TIMES)]
    seconds, busy = (statistics.median(getattr(one, what) for one in all_) for what in ("seconds", "busy"))
    n_requests, n_elements = max(one.n_requests for one in all_), max(one.n_elements for one in all_)
    return f"| {n_pairs:,} | {from_file:.2f} | {seconds:.2f} | {busy:.2f} | {n_requests} | {n_elements:,} |"


def main() -> None:
    """Print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--pairs", default="200,2000,20000")
    parser.add_argument("--pictures", type=int, default=60, help="of the gallery")
    given = parser.parse_args()
    print(f"{describe_run()} · load {os.getloadavg()[0]:.0f}\n")
    print("| pairs | from the file s | on the page s | script and layout s | requests | elements |")
    print("|---" * 6 + "|")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as started:
        gallery = Gallery.create(Path(name) / "rooms.gallery")
        rooms = Path(name) / "rooms"
        rooms.mkdir()
        made = scenes.gallery_of_rooms(0, n_paintings=given.pictures // 3, rooms_per_painting=3)
        for i, room in enumerate(made.rooms):
            room.image.save(rooms / f"room {i:04}.jpg", quality=90)
        gallery.add(rooms)
        browser = started.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        with serving(create_app(gallery)) as port:
            for n_pairs in map(int, given.pairs.split(",")):
                print(row(browser, gallery, port, n_pairs), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
