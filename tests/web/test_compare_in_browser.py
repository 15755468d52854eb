"""Compare in a real browser: zoom and pan of all pictures together, layers, candidates, keys and touch."""

import re

import pytest

from lookalike.gallery import Gallery
from lookalike.web import create_app
from made_browser import IN_BROWSER
from made_server import serving

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

pytestmark = IN_BROWSER


@pytest.fixture(scope="module")
def own_address(room_folder, mini, tmp_path_factory):
    gallery = Gallery.create(tmp_path_factory.mktemp("own") / "rooms.gallery", mini)
    gallery.add(room_folder, workers=0)
    with serving(create_app(gallery)) as port:
        yield f"http://127.0.0.1:{port}/"


@pytest.fixture
def open_compare(browser, own_address, room_folder):
    """Opens Compare with the first hit of a room."""
    contexts = []

    def open_one(**options):
        contexts.append(browser.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        page.goto(own_address)
        page.wait_for_selector(".browse")
        page.set_input_files("#file", sorted(room_folder.rglob("*.png"))[4])
        page.wait_for_selector("#grid:not([aria-busy]) .hit")
        page.locator(".hit").first.get_by_text("Compare").click()
        page.get_by_text("Each map sums").wait_for()
        return page

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture
def compared(open_compare):
    return open_compare(viewport={"width": 1366, "height": 900})


def relative(page, side):
    """Where the photograph lies: left and top in parts of its frame, and its zoom."""
    frame, view = (page.locator(selector).bounding_box() for selector in (f"#{side}", f"#{side} .view"))
    return (
        (view["x"] - frame["x"]) / frame["width"],
        (view["y"] - frame["y"]) / frame["height"],
        view["width"] / frame["width"],
    )


def test_both_pictures_are_zoomed_and_moved_together(compared):
    area = compared.locator("#right").bounding_box()
    compared.mouse.move(area["x"] + area["width"] * 0.75, area["y"] + area["height"] * 0.25)
    compared.mouse.wheel(0, -100)
    compared.mouse.wheel(0, -100)
    left, right = (relative(compared, side) for side in ("left", "right"))
    assert left == pytest.approx(right, abs=0.01)
    zoom = right[2]
    assert zoom == pytest.approx(1.44, abs=0.01)
    assert right[0] == pytest.approx(0.75 * (1 - zoom), abs=0.01)  # the point under the pointer stays
    compared.mouse.down()
    compared.mouse.move(area["x"] + area["width"] * 0.85, area["y"] + area["height"] * 0.3, steps=3)
    compared.mouse.up()
    moved = relative(compared, "left")
    assert moved[0] == pytest.approx(right[0] + 0.1, abs=0.01) and moved == pytest.approx(
        relative(compared, "right"), abs=0.01
    )
    compared.keyboard.press("0")
    assert relative(compared, "left") == pytest.approx((0, 0, 1), abs=0.01)


def test_a_cell_is_pointed_at_where_it_lies_when_zoomed(compared):
    with compared.expect_response(re.compile("/cells")) as plain:
        area = compared.locator("#left").bounding_box()
        compared.mouse.move(area["x"] + area["width"] * 0.5, area["y"] + area["height"] * 0.5)
    for _ in range(2):
        compared.keyboard.press("+")
    with compared.expect_response(re.compile("/cells")) as zoomed:
        compared.mouse.move(area["x"] + area["width"] * 0.9, area["y"] + area["height"] * 0.5)
    x = [float(re.search(r"[?&]x=([\d.]+)", answer.value.url)[1]) for answer in (plain, zoomed)]
    assert x[0] == pytest.approx(100, abs=2)
    assert x[1] == pytest.approx(100 + 200 * 0.4 / 2.25, abs=2)


def test_a_closer_look_loads_the_picture_at_full_resolution(compared):
    with compared.expect_request(re.compile("side=8192")):
        compared.keyboard.press("+")


def test_the_map_is_switched_and_weakened_by_keys(compared):
    compared.keyboard.press("w")
    expect(compared.locator("#map")).to_have_attribute("aria-pressed", "false")
    assert compared.locator("#left canvas").evaluate("c => getComputedStyle(c).visibility") == "hidden"
    compared.keyboard.press("w")
    compared.keyboard.press("[")
    compared.keyboard.press("[")
    assert compared.locator("#left canvas").evaluate("c => getComputedStyle(c).opacity") == "0.65"


def test_pictures_are_swapped_split_flipped_and_blinked(compared):
    compared.keyboard.press("x")
    boxes = [compared.locator(side).bounding_box()["x"] for side in ("#left", "#right")]
    assert boxes[0] > boxes[1]
    compared.keyboard.press("x")
    compared.keyboard.press("s")
    assert compared.locator("#split-at").is_visible()
    compared.locator("#split-at").fill("30")
    clip = "e => getComputedStyle(e).clipPath"
    assert compared.locator("#right").evaluate(clip) == "inset(0px 0px 0px 30%)"
    left, right = (compared.locator(side).bounding_box() for side in ("#left", "#right"))
    assert left["x"] + left["width"] / 2 == pytest.approx(right["x"] + right["width"] / 2, abs=1)
    compared.keyboard.press("f")  # over each other already: the other picture
    compared.click("#flip")
    expect(compared.locator("#left")).to_have_css("visibility", "hidden")
    compared.keyboard.press("f")
    expect(compared.locator("#right")).to_have_css("visibility", "hidden")
    compared.click("#blink")
    for side in ("#right", "#left", "#right"):
        expect(compared.locator(side)).to_have_css("visibility", "hidden", timeout=3000)
    compared.keyboard.press("b")
    expect(compared.locator("#left")).to_have_css("visibility", "visible")


def test_with_reduced_motion_nothing_blinks_by_itself(open_compare):
    page = open_compare(viewport={"width": 1366, "height": 900}, reduced_motion="reduce")
    page.keyboard.press("b")
    expect(page.locator("#left")).to_have_css("visibility", "hidden")
    page.wait_for_timeout(1600)
    assert page.locator("#left").evaluate("e => getComputedStyle(e).visibility") == "hidden"
    page.keyboard.press("f")
    expect(page.locator("#right")).to_have_css("visibility", "hidden")


def test_more_candidates_stand_beside_the_query_and_answer_a_cell(compared):
    compared.keyboard.press("a")
    compared.keyboard.press("a")
    expect(compared.locator(".pair figure")).to_have_count(4)
    compared.get_by_text("On the query: the map of the first candidate.").wait_for()
    assert compared.locator("#compare").evaluate("dialog => dialog.scrollWidth <= dialog.clientWidth")
    area = compared.locator("#left").bounding_box()
    compared.mouse.move(area["x"] + area["width"] * 0.4, area["y"] + area["height"] * 0.4)
    expect(compared.locator(".pair .cell:visible")).to_have_count(4)
    with compared.expect_response(re.compile("/decisions$")):
        compared.locator(".pair figure").nth(2).get_by_role("button", name="Different").click()
    compared.keyboard.press("Escape")
    expect(compared.locator(".hit").nth(1)).to_have_attribute("data-verdict", "different")
    compared.keyboard.press("Enter")
    expect(compared.locator(".pair figure")).to_have_count(2)


def test_a_whole_review_is_done_by_keys(compared):
    titles = []
    for key, label in (("1", "Same"), ("2", "Different"), ("3", "Unsure")):
        with compared.expect_response(re.compile("/decisions$")):
            compared.keyboard.press(key)
        expect(compared.locator('#compare .verdict[aria-pressed="true"]').first).to_have_text(label)
        titles.append(compared.locator("#compare-title").text_content())
        compared.keyboard.press("j")
        compared.get_by_text("Each map sums").wait_for()
    assert [title.split(".")[0] for title in titles] == ["1", "2", "3"]
    compared.keyboard.press("k")
    expect(compared.locator("#compare-title")).to_contain_text("3.")
    with compared.expect_response(re.compile("/undo$")):
        compared.keyboard.press("u")
    expect(compared.locator('#compare .verdict[aria-pressed="true"]')).to_have_count(0)
    compared.keyboard.press("n")
    compared.keyboard.type("j 1 w")  # text, no keys
    expect(compared.locator("#compare-title")).to_contain_text("3.")
    compared.keyboard.press("Escape")
    assert not compared.locator("#compare").is_visible()


@pytest.mark.parametrize("size", [(320, 700), (390, 844), (683, 450), (1366, 900)])  # 683 x 450: 200 %
def test_nothing_is_wider_than_the_window(open_compare, size):
    page = open_compare(viewport={"width": size[0], "height": size[1]})
    page.keyboard.press("a")
    expect(page.locator(".pair figure")).to_have_count(3)
    assert page.locator("#compare").evaluate("dialog => dialog.scrollWidth <= dialog.clientWidth")
    page.keyboard.press("s")
    page.keyboard.press("Escape")
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_two_fingers_zoom(open_compare):
    page = open_compare(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.locator("#left").evaluate(
        """frame => {
          const area = frame.getBoundingClientRect();
          const send = (name, id, x, y) => frame.dispatchEvent(new PointerEvent(name, {
            pointerId: id, pointerType: "touch", bubbles: true, buttons: 1,
            clientX: area.left + area.width * x, clientY: area.top + area.height * y }));
          frame.setPointerCapture = () => {};
          send("pointerdown", 11, 0.4, 0.5); send("pointerdown", 12, 0.6, 0.5);
          send("pointermove", 12, 0.8, 0.5);
          send("pointerup", 11, 0.4, 0.5); send("pointerup", 12, 0.8, 0.5);
        }"""
    )
    assert relative(page, "right")[2] == pytest.approx(2, abs=0.02)
