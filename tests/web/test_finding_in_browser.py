"""What is on a photograph, in a real browser: its boxes, what is said, and evidence on both pictures."""

import re

import numpy as np
import pytest
from PIL import Image

from lookalike.gallery import Gallery
from lookalike.web import create_app
from made_browser import IN_BROWSER
from made_server import serving

playwright = pytest.importorskip("playwright.sync_api")
pytest.importorskip("cv2")
expect = playwright.expect

pytestmark = IN_BROWSER
PLACES = ((20, 30), (330, 110))  # left, top of the pictures on the wall


@pytest.fixture(scope="module")
def textured(tmp_path_factory):
    """Five pictures with much detail, none like another: files."""
    folder, rng = tmp_path_factory.mktemp("textured"), np.random.default_rng(5)
    for i in range(5):
        coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
        coarse.resize((256, 192), Image.Resampling.BICUBIC).save(folder / f"picture_{i}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def wall(textured, tmp_path_factory):
    """A photograph with two of the pictures on a plain wall."""
    photograph = Image.new("RGB", (640, 360), (188, 180, 165))
    for file, place in zip(textured[1:3], PLACES, strict=True):
        photograph.paste(Image.open(file), place)
    file = tmp_path_factory.mktemp("wall") / "wall.png"
    photograph.save(file)
    return file


@pytest.fixture(scope="module")
def textured_address(textured, mini):
    gallery = Gallery.in_memory(mini)
    gallery.add(textured, workers=0)
    with serving(create_app({"textured": gallery})) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def page(browser, textured_address):
    problems = []
    context = browser.new_context(viewport={"width": 1366, "height": 900})
    page = context.new_page()
    page.set_default_timeout(120_000)  # also on a machine that is busy
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(textured_address)
    page.wait_for_selector(".browse")
    yield page
    context.close()
    assert not problems


def search_with(page, *files):
    page.set_input_files("#file", files)
    page.wait_for_selector("#grid:not([aria-busy]) .hit")


def find(page):
    page.get_by_role("button", name="Find what is on it").click()
    page.locator("#find:not([aria-busy])").wait_for()


def test_both_pictures_on_a_wall_are_named_boxed_once_and_explained(page, wall):
    search_with(page, wall)
    find(page)
    said = page.inner_text("#found")
    assert said.startswith("2 pictures of the gallery are on it: "), said
    assert {"picture_1.png", "picture_2.png"} == set(re.findall(r"picture_\d.png", said))
    chips = page.locator("#regions .chip")
    assert sorted(text[3:] for text in chips.all_inner_texts()) == ["picture_1.png", "picture_2.png"]
    for chip in (1, 0):
        with page.expect_response(re.compile("/search$")) as answer:
            chips.nth(chip).click()
        page.wait_for_selector("#grid:not([aria-busy]) .hit")
        name = chips.nth(chip).inner_text()[3:]
        left, top = PLACES[int(name[8]) - 1]
        asked = answer.value.request.post_data_json
        assert asked["rerank"] == "geometry"
        assert asked["box"] == pytest.approx((left, top, left + 256, top + 192), abs=4)
        assert page.locator(".hit .facts .name").first.inner_text() == name
        assert re.match(r">99% match · \d+ points agree$", page.locator(".hit .evidence").first.inner_text())
    find(page)  # again: no box is there twice
    assert chips.count() == 2
    page.locator(".hit").first.get_by_role("button", name="Compare").click()
    page.get_by_text("Dots: points that agree").wait_for()
    n_points = int(re.search(r"(\d+) points agree", page.inner_text("#compare-facts"))[1])
    drawn = [page.locator(f"#{side} .dots").get_attribute("d").count("M") for side in ("left", "right")]
    assert drawn == [n_points, n_points]
    corners = page.locator("#left .outline").get_attribute("d")[1:-1].split("L")
    found = np.array([[float(value) for value in corner.split()] for corner in corners]) * (640, 360)
    name = page.inner_text("#compare-title")[3:]
    assert found[0] == pytest.approx(PLACES[int(name[8]) - 1], abs=4)


def test_finding_shows_how_far_it_is(page, wall):
    held, at = [], {"stage": "searching regions", "done": 3, "total": 13, "remaining": 19.2}
    page.route("**/regions", lambda route: held.append(route))  # a function of Python, which Playwright marks
    page.route("**/progress/*", lambda route: route.fulfill(json=at))
    search_with(page, wall)
    page.get_by_role("button", name="Find what is on it").click()
    expect(page.locator("#finding span")).to_have_text("searching regions: 3 of 13, about 20 s left")
    assert page.locator("#finding progress").evaluate("bar => [bar.value, bar.max]") == [3, 13]
    held[0].continue_()
    page.locator("#find:not([aria-busy])").wait_for()
    expect(page.locator("#finding")).to_be_hidden()
    expect(page.locator("#found")).to_contain_text("2 pictures of the gallery are on it")


def test_nothing_on_it_is_said_with_what_was_searched(page, tmp_path):
    file = tmp_path / "plain.png"
    Image.new("RGB", (320, 240), (120, 140, 160)).save(file)
    search_with(page, file)
    find(page)
    expect(page.locator("#found")).to_contain_text("No picture of the gallery is surely on it")
    assert page.locator("#regions .chip").count() == 0
    search_with(page, file)
    expect(page.locator("#found")).to_be_hidden()  # said of the query before


def test_several_files_are_queries_one_after_the_other(page, textured):
    search_with(page, *textured[2:5])
    at, name = page.locator("#queue-at"), page.locator("#query-name")
    for file in (1, 2):
        page.get_by_role("button", name="Next picture").click()
        expect(at).to_have_text(f"Picture {file + 1} of 3")
        expect(name).to_have_text(textured[2 + file].name)
        expect(page.locator(".hit .facts .name").first).to_have_text(textured[2 + file].name)
    page.get_by_role("button", name="Next picture").click(force=True)  # there is none
    expect(at).to_have_text("Picture 3 of 3")
    page.go_back()
    expect(at).to_have_text("Picture 2 of 3")
    page.get_by_role("button", name="New query").click()
    assert page.locator("#queue").is_hidden()


DROP = """async (addresses) => {
  const blobs = await Promise.all(addresses.map(async (address) => (await fetch(address)).blob()));
  const contents = [["b10.jpg", "image/jpeg", blobs[0]], ["b9.jpg", "image/jpeg", blobs[1]], ["notes.txt", "text/plain", "x"]];
  const entry = ([name, type, data]) => ({ isFile: true, file: (done) => done(new File([data], name, { type })) });
  const parts = [contents.map(entry), []];
  const folder = { isDirectory: true, createReader: () => ({ readEntries: (done) => done(parts.shift()) }) };
  const event = new Event("drop");
  event.dataTransfer = { items: [{ webkitGetAsEntry: () => folder }], files: [] };
  document.body.dispatchEvent(event);
}"""  # noqa: E501


def test_a_dropped_folder_gives_its_pictures_in_order_and_leaves_other_files_out(page):
    listed = "async () => (await (await fetch('/api/galleries/textured/pictures')).json()).pictures"
    ids = [picture["id"] for picture in page.evaluate(listed)]
    page.evaluate(DROP, [f"/api/galleries/textured/pictures/{id}" for id in ids[:2]])
    expect(page.locator("#queue-at")).to_have_text("Picture 1 of 2")
    expect(page.locator("#query-name")).to_have_text("b9.jpg")
