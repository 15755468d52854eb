"""The map on the web page with many points, in Chromium: time to load, bytes, and frames while it moves.

The points are generated: clusters of normally distributed embeddings, one of seven values and a number as
metadata, no files. A real server answers, the layout is PCA. Prints one row for each number of points.

    python benchmarks/map.py [--rows 10000,100000] [--chromium /usr/bin/chromium]

Load is from the click on "Map" to the first frame with points, with a layout that is kept: the first request
of a server (it reads the embeddings), and one more (a reload of the page). Paint is the time of one redrawing
of all points at random places and zooms: the least, the median and the 95th percentile of 60. Frames are
those that Chromium shows in 3 s while the map is dragged, and zoomed by the wheel. Without a GPU the
processor does all of it.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import uvicorn
from environment import describe_run, parser_of
from playwright.sync_api import Page, sync_playwright

from lookalike.gallery import Gallery
from lookalike.store import Entry, Record
from lookalike.web import create_app

CLUSTERS = 24
SECONDS = 3
VIEW = {"width": 1366, "height": 900}
PAINTS = """async () => {
  const { MapCanvas } = await import("/static/map/canvas.js"), paint = MapCanvas.prototype.paint, times = [];
  MapCanvas.prototype.paint = function () {
    globalThis.shownMap = this;
    const start = performance.now();
    paint.call(this);
    times.push(performance.now() - start);
  };
  document.querySelector(".map-stage").focus();
  document.querySelector(".map-stage").dispatchEvent(new KeyboardEvent("keydown", { key: "0" }));
  await new Promise((done) => setTimeout(done, 300));
  times.length = 0;
  for (let i = 0; i < 60; i++) {
    Object.assign(shownMap, { x: Math.random(), y: Math.random(), zoom: 1 + 5 * Math.random() });
    shownMap.paint();
  }
  MapCanvas.prototype.paint = paint;
  return times;
}"""
BYTES = """() => performance.getEntriesByType("resource").filter(({ name }) => /api.*\\/map/.test(name))
  .reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0)"""
FRAMES = """() => new Promise((done) => {
  const times = [], end = performance.now() + MILLISECONDS;
  const step = (now) => { times.push(now); now < end ? requestAnimationFrame(step) : done(times); };
  requestAnimationFrame(step);
})""".replace("MILLISECONDS", str(SECONDS * 1000))


def generated(folder: Path, n: int) -> Gallery:
    """A gallery of generated embeddings."""
    draw = np.random.default_rng(0)
    gallery = Gallery.create(folder / f"{n}.gallery")
    width = gallery.embedder.width
    centers = draw.standard_normal((CLUSTERS, width)).astype(np.float32)
    for start in range(0, n, 8192):
        rows = range(start, min(n, start + 8192))
        which = draw.integers(0, CLUSTERS, len(rows))
        vectors = centers[which] + draw.standard_normal((len(rows), width), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        ids = draw.integers(0, 256, (len(rows), 32), dtype=np.uint8)
        values = draw.integers(1900, 2020, len(rows)).tolist()
        entries = []
        for row, vector, digest, kind, year in zip(rows, vectors, ids, which.tolist(), values, strict=True):
            text = digest.tobytes().hex()
            metadata = {"kind": f"kind {kind % 7}", "year": year}
            entries.append(Entry(Record(text[:20], f"/{row:06}.jpg", text, 1, 1, metadata), vector))
        gallery._store.add(entries)
    return gallery


@contextmanager
def served(gallery: Gallery) -> Iterator[str]:
    """Address of a server."""
    server = uvicorn.Server(uvicorn.Config(create_app(gallery), port=0, log_level="error"))
    socket = server.config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{socket.getsockname()[1]}/"
    server.should_exit = True
    thread.join()


def frames_while(page: Page, act: str) -> tuple[float, float]:
    """Frames a second, and the 95th percentile of the milliseconds between them."""
    area = page.locator(".map-stage").bounding_box()
    assert area is not None
    x, y = area["x"] + area["width"] / 2, area["y"] + area["height"] / 2
    page.evaluate(f"() => {{ globalThis.frames_ = ({FRAMES})(); }}")
    page.mouse.move(x, y)
    if act == "drag":
        page.mouse.down()
    end, step = time.perf_counter() + SECONDS, 0
    while time.perf_counter() < end:
        step += 1
        if act == "drag":
            page.mouse.move(x + 150 * np.sin(step / 15), y + 90 * np.cos(step / 11))
        else:
            page.mouse.wheel(0, -30 if step // 60 % 2 == 0 else 30)
    if act == "drag":
        page.mouse.up()
    between = np.diff(page.evaluate("() => globalThis.frames_"))
    return 1000 / float(between.mean()), float(np.percentile(between, 95))


def measured(browser: object, folder: Path, n: int) -> str:
    """One row of the table."""
    gallery = generated(folder, n)
    gallery.map("pca", clusters=CLUSTERS)
    with served(Gallery.open(str(gallery.uri))) as address:
        context = browser.new_context(viewport=VIEW)  # type: ignore[attr-defined]
        page: Page = context.new_page()
        page.set_default_timeout(300_000)
        page.goto(address)
        page.wait_for_selector(".browse")
        seconds = []
        for act in (lambda: page.click("#show-map"), page.reload):
            start = time.perf_counter()
            act()
            page.wait_for_selector(".map-cluster")
            page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
            seconds.append(time.perf_counter() - start)
        n_bytes = page.evaluate(BYTES)
        paints = page.evaluate(PAINTS)
        page.keyboard.press("0")
        drag, wheel = (frames_while(page, act) for act in ("drag", "wheel"))
        context.close()
    cells = [
        f"{n:,}", f"{seconds[0]:.2f}", f"{seconds[1]:.2f}", f"{n_bytes / 1e6:.2f}",
        f"{min(paints):.1f}, {statistics.median(paints):.1f}, {np.percentile(paints, 95):.1f}",
        f"{drag[0]:.0f}, {drag[1]:.0f}", f"{wheel[0]:.0f}, {wheel[1]:.0f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", default="10000,100000")
    parser.add_argument("--chromium", type=Path, default=Path("/usr/bin/chromium"))
    arguments = parser.parse_args()
    print(f"{describe_run()} · load {os.getloadavg()[0]:.0f}", flush=True)
    print("| points | load s | again s | MB | paint ms | dragged: frames/s, ms | zoomed: frames/s, ms |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with sync_playwright() as started, tempfile.TemporaryDirectory() as folder:
        browser = started.chromium.launch(executable_path=arguments.chromium, chromium_sandbox=False)
        print(f"Chromium {browser.version}", flush=True)
        for n in map(int, arguments.rows.split(",")):
            print(measured(browser, Path(folder), n), flush=True)


if __name__ == "__main__":
    main()
