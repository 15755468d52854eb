"""The map on the page: moved, pointed at, selected from by lasso, box and keys, tagged, saved, linked to."""

import csv
import re
import shutil
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from lookalike.gallery import Gallery
from lookalike.web import create_app
from made_browser import IN_BROWSER
from made_server import serving

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

pytestmark = IN_BROWSER

HEADING = ".map-selection h2"


@pytest.fixture(scope="module")
def mapped(gallery, mini, tmp_path_factory):
    """A copy of the rooms that may be tagged, with a kept layout."""
    folder = tmp_path_factory.mktemp("mapped") / "rooms.gallery"
    shutil.copytree(gallery.uri, folder)
    made = Gallery.open(folder, mini)
    made.map("pca", clusters=3)
    return made


@pytest.fixture(scope="module")
def map_address(mapped):
    with serving(create_app(mapped)) as port:
        yield f"http://127.0.0.1:{port}/?view=map"


@pytest.fixture
def page(browser, map_address):
    problems = []
    with browser.new_context(viewport={"width": 1366, "height": 900}) as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda m: problems.append(m.text) if "Security Policy" in m.text else None)
        page.goto(map_address)
        page.wait_for_selector(".map-cluster")
        yield page
    assert not problems


def places(page, mapped):
    """Where each picture must stand on the page (G, 2), computed from the gallery's map."""
    points = mapped.map("pca").points.astype(np.float64)
    low, high = points.min(0), points.max(0)
    unit = (points - (low + high) / 2) / (high - low).max() * [1, -1]  # y goes up in a map, down on a page
    area = page.locator(".map-stage").bounding_box()
    middle = [area["x"] + area["width"] / 2, area["y"] + area["height"] / 2]
    return unit * 0.9 * (min(area["width"], area["height"]) - 2) + middle  # within its border


def drag(page, corners):
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in corners[1:]:
        page.mouse.move(*corner, steps=3)
    page.mouse.up()


def state(page):
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def looked_at(page):
    """Middle and zoom."""
    return [float(number) for number in state(page)["at"].split(",")]


def shown_names(page):
    return sorted(page.locator(".map-selection .name").all_text_contents())


def names_of(mapped, rows):
    return sorted(Path(mapped.map("pca").records[row].path).name for row in rows)


def test_a_picture_that_is_pointed_at_shows_itself_and_a_click_selects_it(page, mapped):
    row, record = 4, mapped.map("pca").records[4]
    page.mouse.move(*places(page, mapped)[row])
    expect(page.locator(".map-tip b")).to_have_text(Path(record.path).name)
    expect(page.locator(".map-tip")).to_contain_text(f"label: {record.metadata['label']}")
    expect(page.locator(".map-tip img")).not_to_have_js_property("naturalWidth", 0)
    page.mouse.click(*places(page, mapped)[row])
    expect(page.locator(HEADING)).to_have_text("1 picture selected")
    page.wait_for_url(re.compile("pick="))
    assert state(page)["pick"] == f"picture:{record.id}"
    with page.expect_response(re.compile("/search$")):
        page.locator(".map-selection .browse").click()
    page.wait_for_selector(".hit")
    assert page.locator("#query-name").text_content() == Path(record.path).name
    page.go_back()
    expect(page.locator(HEADING)).to_have_text("1 picture selected")


def test_a_box_and_a_lasso_select_what_lies_in_them(page, mapped):
    at = places(page, mapped)
    left, top = at.min(0) - 12
    cut = np.sort(at[:, 0])[5:7].mean()
    inside = np.flatnonzero(at[:, 0] < cut)
    page.get_by_role("button", name="Box", exact=True).click()
    drag(page, [(left, top), (cut, at[:, 1].max() + 12)])
    expect(page.locator(HEADING)).to_have_text(f"{len(inside)} pictures selected")
    expect(page.locator(".map-selection .name")).to_have_count(len(inside))
    assert shown_names(page) == names_of(mapped, inside)
    page.get_by_role("button", name="Lasso", exact=True).click()
    corners = [at[7] + np.array(step) * 15 for step in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    drag(page, corners)
    near = np.flatnonzero((np.abs(at - at[7]) < 15).all(1))
    expect(page.locator(HEADING)).to_have_text(re.compile(rf"^{len(near)} "))
    expect(page.locator(".map-selection .name")).to_have_count(len(near))
    assert shown_names(page) == names_of(mapped, near)
    page.reload()
    expect(page.locator(HEADING)).to_have_text(re.compile(rf"^{len(near)} "))


def test_the_map_moves_by_wheel_drag_and_keys_and_the_address_keeps_it(page, mapped):
    stage = page.locator(".map-stage")
    at = places(page, mapped)[2]
    page.mouse.move(*at)
    page.mouse.wheel(0, -240)
    page.wait_for_url(re.compile("at="))
    x, y, zoom = looked_at(page)
    assert zoom == pytest.approx(np.exp(120 / 400), rel=0.01)  # a turn of the wheel counts for 120 at most
    page.mouse.click(*at)  # what was under the pointer still is
    page.wait_for_url(re.compile("pick="))
    assert state(page)["pick"] == f"picture:{mapped.map('pca').records[2].id}"
    page.locator(".map-selection").get_by_text("Clear selection").click()
    area = stage.bounding_box()
    corner = (area["x"] + 8, area["y"] + 8)
    drag(page, [corner, (corner[0] + 100, corner[1] + 40)])
    page.wait_for_timeout(600)
    moved = looked_at(page)
    unit = 0.9 * (min(area["width"], area["height"]) - 2) * zoom
    assert moved == pytest.approx([x - 100 / unit, y - 40 / unit, zoom], abs=2e-3)
    page.reload()
    page.wait_for_selector(".map-cluster")
    assert looked_at(page) == moved
    stage.focus()
    page.keyboard.press("0")
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    page.wait_for_timeout(600)
    assert looked_at(page) == pytest.approx([0.5 + 0.12 / 1.4, 0.5, 1.4], abs=1e-3)
    page.keyboard.press("0")
    page.wait_for_timeout(600)
    assert "at" not in state(page)


def test_everything_is_reached_by_keys(page, mapped):
    found = mapped.map("pca")
    page.locator(".map-stage").focus()
    page.keyboard.press("Shift+ArrowRight")  # to the picture in the middle
    expect(page.locator(".map-tip b")).not_to_be_empty()
    first = page.locator(".map-tip b").text_content()
    names = [Path(record.path).name for record in found.records]
    page.keyboard.press("Shift+ArrowLeft")
    expect(page.locator(".map-tip b")).not_to_have_text(first)
    expect(page.locator(".map-tip b")).not_to_be_empty()
    second = page.locator(".map-tip b").text_content()
    assert found.points[names.index(second), 0] < found.points[names.index(first), 0]
    page.keyboard.press("Enter")
    expect(page.locator(HEADING)).to_have_text("1 picture selected")
    page.keyboard.press("Escape")
    expect(page.locator(".map-selection")).to_be_hidden()
    cluster = page.locator(".map-cluster").nth(1)
    cluster.focus()
    page.keyboard.press("Enter")
    expect(cluster).to_have_attribute("aria-pressed", "true")
    rows = np.flatnonzero(found.clusters == found.groups[1].number)
    expect(page.locator(".map-selection .name")).to_have_count(len(rows))
    assert shown_names(page) == names_of(mapped, rows)


def test_colors_have_a_legend_that_selects_and_pixels_of_its_colors(page, mapped):
    page.get_by_label("Color by").select_option(label="label")
    labels = [record.metadata["label"] for record in mapped.map("pca").records]
    entry = page.locator(".map-entry").first
    expect(entry).to_contain_text("2")
    text = entry.locator(".map-text").text_content()
    color = entry.locator(".map-dot").evaluate("dot => getComputedStyle(dot).backgroundColor")
    row = labels.index(text)
    pixel = page.locator(".map-stage canvas").evaluate(
        "(canvas, [x, y]) => { const a = canvas.getBoundingClientRect(), r = canvas.width / a.width;"
        " return `rgb(${[...canvas.getContext('2d').getImageData((x - a.x) * r, (y - a.y) * r, 1, 1).data]"
        ".slice(0, 3).join(', ')})` }",
        places(page, mapped)[row].tolist(),
    )
    assert pixel == color
    entry.click()
    expect(page.locator(HEADING)).to_have_text("2 pictures selected")
    assert state(page)["pick"] == f"value:{text}" and state(page)["color"] == "label"
    page.reload()
    expect(page.locator(HEADING)).to_have_text("2 pictures selected")


def test_a_selection_is_saved_as_a_table_and_its_tags_are_in_the_gallery(page, mapped):
    page.locator(".map-cluster").first.click()
    rows = np.flatnonzero(mapped.map("pca").clusters == mapped.map("pca").groups[0].number)
    ids = {mapped.map("pca").records[row].id for row in rows}
    with page.expect_download() as download:
        page.get_by_role("button", name="Save as CSV").click()
    table = csv.DictReader(download.value.path().read_text("utf-8").splitlines())
    assert {row["id"] for row in table} == ids
    page.get_by_label("Tags, separated by commas").fill("red, to sell")
    page.get_by_role("button", name="Tag", exact=True).click()
    page.get_by_text(f"{len(rows)} pictures tagged").wait_for()
    tagged = {r.id: r.metadata.get("tags") for r in Gallery.open(mapped.uri, mapped.embedder).records()}
    assert {id for id, tags in tagged.items() if tags == ["red", "to sell"]} == ids
    expect(page.locator(".map-selection .metadata").first).to_contain_text("red")
    page.get_by_label("Color by").select_option(label="tags")
    expect(page.locator(".map-entry")).to_have_count(2 + (len(rows) < len(tagged)))
    page.get_by_label("Tags, separated by commas").fill("red")
    page.get_by_role("button", name="Remove tag").click()
    page.get_by_text("taken from").wait_for()
    assert not any("red" in (r.metadata.get("tags") or ()) for r in mapped.records())


@pytest.mark.parametrize("width", [320, 390, 683, 1366])  # 683 is 1366 at 200 %
def test_the_map_fits_the_page(browser, map_address, width):
    with browser.new_context(viewport={"width": width, "height": 700}) as context:
        page = context.new_page()
        page.goto(map_address + "&pick=cluster:0")
        page.wait_for_selector(".map-selection .browse")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        boxes = [label.bounding_box() for label in page.locator(".map-label").all() if label.is_visible()]
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                assert (
                    a["x"] + a["width"] <= b["x"]
                    or b["x"] + b["width"] <= a["x"]
                    or (a["y"] + a["height"] <= b["y"] or b["y"] + b["height"] <= a["y"])
                )


def test_the_filter_acts_on_the_map_and_stays_in_the_address(page, mapped):
    records = mapped.map("pca").records
    label = records[0].metadata["label"]
    wanted = [row for row, record in enumerate(records) if record.metadata["label"] == label]
    other = next(row for row in range(len(records)) if row not in wanted)
    at = places(page, mapped)
    page.click("text=Select what is in view")
    expect(page.locator(HEADING)).to_have_text(f"{len(records)} pictures selected")
    page.fill("#where", f'label == "{label}"')
    page.keyboard.press("Tab")
    expect(page.locator("#count")).to_contain_text(f"{len(wanted)} of {len(records)} pictures pass")
    expect(page.locator(HEADING)).to_have_text(f"{len(wanted)} pictures selected")
    sizes = page.locator(".map-cluster > .soft").all_text_contents()
    assert sum(map(int, sizes)) == len(wanted)
    expect(page.locator(".map-stage")).to_have_attribute(
        "aria-label", re.compile(f"^Map of {len(wanted)} of {len(records)} pictures")
    )
    page.mouse.click(*at[other])  # what is not shown can't be selected
    expect(page.locator(f'{HEADING}:has-text("1 picture")')).to_have_count(0)
    page.mouse.click(*at[wanted[0]])
    expect(page.locator(HEADING)).to_have_text("1 picture selected")
    page.reload()
    expect(page.locator("#count")).to_contain_text(f"{len(wanted)} of {len(records)} pictures pass")
    page.fill("#where", "label === ")
    page.keyboard.press("Tab")
    expect(page.locator("#message.error")).to_contain_text("can't be parsed")
    expect(page.locator(".map-stage")).to_be_hidden()  # never the whole map below a filter that says less
    page.fill("#where", "")
    page.keyboard.press("Tab")
    expect(page.locator("#count")).to_have_text("Similar pictures lie near each other.")
    expect(page.locator(".map-stage")).to_be_visible()
    expect(page.locator("#message")).to_be_hidden()
