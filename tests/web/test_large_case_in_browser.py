"""A case of 2,000 pairs in a browser: what is sent and made does not grow, and no pair is skipped."""

import re
from dataclasses import replace

import pytest

from lookalike.gallery import Gallery
from lookalike.gallery.cases.pairs import CasePair, CasePicture, pair_id
from lookalike.web import create_app
from made_browser import IN_BROWSER
from made_server import serving

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect

pytestmark = IN_BROWSER

N_QUERIES, N_PAIRS, SHOWN = 200, 2000, 60
DECIDED = re.compile("/(decisions|undo)$")
COUNTING = """addEventListener("DOMContentLoaded", () => {
  window.counted = 0;
  const options = { childList: true, characterData: true, subtree: true };
  new MutationObserver((all) => (window.counted += all.length))
    .observe(document.getElementById("case-count"), options);
})"""


def pairs_of(records):
    """200 regions of a picture, each with ten others; every third pair is undecided."""
    made = []
    for i in range(N_QUERIES):
        query = records[i % len(records)]
        box = (1.0, 2.0, 30.0 + i, 40.0)
        for j, hit in enumerate(records[:10]):
            made.append(
                CasePair(
                    pair_id(query.hash, box, None, hit.hash),
                    CasePicture(query.hash, f"query {i}.jpg"),
                    box,
                    None,
                    CasePicture(hit.hash, f"hit {j}.jpg"),
                    similarity=0.9 - 0.01 * j,
                    probability=None,
                    rank=j + 1,
                    method="shares",
                    model="mini",
                    fingerprint="f" * 64,
                    parameters={},
                    metadata={},
                    verdict=("same", "different", None)[(i + j) % 3],
                )
            )
    return made


@pytest.fixture(scope="module")
def gallery(room_folder, mini, tmp_path_factory):
    made = Gallery.create(tmp_path_factory.mktemp("large") / "rooms.gallery", mini)
    made.add(room_folder, workers=0)
    made.case("large").import_decisions(pairs_of(list(made.records())))
    return made


@pytest.fixture(scope="module")
def port(gallery):
    with serving(create_app(gallery)) as port:
        yield port


@pytest.fixture
def opened(browser, port):
    """Opens a case on a page of its own; the requests for anything but files of the page are kept."""
    contexts, problems = [], []

    def open_case(name, more=""):
        contexts.append(browser.new_context())
        page = contexts[-1].new_page()
        page.set_default_timeout(30_000)
        page.add_init_script(COUNTING)
        page.on("pageerror", lambda error: problems.append(str(error)))
        requests = []
        page.on("request", lambda request: requests.append(request.url.partition("/api/")[2]))
        page.goto(f"http://127.0.0.1:{port}/?case={name}&view=case{more}")
        page.wait_for_selector(".pair-card")
        page.wait_for_load_state("networkidle")
        return page, [each for each in requests if each]

    yield open_case
    for context in contexts:
        context.close()
    assert not problems


def test_opening_sends_and_makes_no_more_than_for_a_small_case(opened, gallery):
    few = [replace(pair) for pair in pairs_of(list(gallery.records()))[:SHOWN]]
    gallery.case("small").import_decisions(few)
    counts = {}
    for name, n in (("small", SHOWN), ("large", N_PAIRS)):
        page, requests = opened(name)
        expect(page.locator("#count")).to_have_text(f"{n:,} pairs")
        expect(page.locator("#case-count")).to_have_text(re.compile("decided$"))
        assert page.locator(".pair-card").count() == SHOWN
        assert sum(each.startswith("galleries/rooms/cases") for each in requests) == 2  # names, and the case
        n_nodes = page.evaluate("document.querySelectorAll('*').length")
        counts[name] = len(requests), n_nodes, page.evaluate("window.counted")
    assert counts["large"] == counts["small"]


def test_every_undecided_pair_is_met_by_keys_though_decided_ones_go(opened, gallery):
    wanted = [pair.id for pair in gallery.case("large").decisions("undecided")]
    page, _ = opened("large", "&undecided=1")
    expect(page.locator("#count")).to_have_text(f"{len(wanted):,} undecided of {N_PAIRS:,} pairs")
    focused = "document.activeElement.dataset.id ?? ''"
    page.keyboard.press("j")
    met = [page.evaluate(focused)]
    for _ in range(4):  # decided ones go, and the next has the focus
        with page.expect_response(DECIDED):
            page.keyboard.press("1")
        met.append(page.evaluate(focused))
    while len(met) < SHOWN + 3:  # past what was shown at first
        page.keyboard.press("j")
        page.wait_for_function(f"last => ({focused}) !== last", arg=met[-1])
        met.append(page.evaluate(focused))
    assert met == wanted[: len(met)]
    for _ in range(4):
        with page.expect_response(DECIDED):
            page.keyboard.press("u")
    expect(page.locator(f'.pair-card[data-id="{wanted[0]}"]')).to_be_visible()
    assert [pair.id for pair in gallery.case("large").decisions("undecided")] == wanted


def test_the_next_pairs_come_when_the_last_shown_was_decided_by_pointer(opened, gallery):
    page, _ = opened("large", "&undecided=1")
    page.evaluate(
        "() => [...document.querySelectorAll('.pair-card')].slice(1).forEach((card) => card.remove())"
    )
    with page.expect_response(DECIDED):
        page.locator(".pair-card").first.get_by_role("button", name="Unsure").click()
    expect(page.locator(".pair-card:visible")).to_have_count(SHOWN)
    with page.expect_response(DECIDED):
        page.click("#undo")


def test_a_large_case_is_exported_whole(opened, gallery, tmp_path):
    page, _ = opened("large")
    with page.expect_download() as download:
        page.click("#export-case")
    download.value.save_as(tmp_path / "case.html")
    html = (tmp_path / "case.html").read_text()
    assert html.count("query 199.jpg") >= 10
