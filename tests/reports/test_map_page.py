"""The map as one file: opens from the disk without a network, shows and selects, and names no folders."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from lookalike import scenes
from lookalike.errors import UnreadableImageError
from lookalike.gallery import Gallery
from lookalike.reports.map import MAP_FILES, inlined_script, map_page, shown_rows
from made_browser import CHROMIUM, chromium


@pytest.fixture(scope="module")
def found(mini, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(8):
        scenes.paint(i, 48).save(folder / f"<!--<script>{i}.png")
    gallery = Gallery.in_memory(mini)
    gallery.add(folder, workers=0, metadata=lambda path: {"x": f"=<b>{path.stem[-1]}", "n": [1, "a"]})
    return gallery.map("pca", clusters=2)


@pytest.fixture(scope="module")
def html(found):
    broken = found.records[0].id

    def picture_of(record):
        if record.id == broken:
            raise UnreadableImageError("not there")
        return scenes.paint(1, 48)

    return map_page(found, picture_of, title="Map of <rooms>")


def test_typical_pictures_come_first_and_no_more_than_asked_for(found):
    typical = {id for group in found.groups for id in group.typical}
    rows = shown_rows(found, 0)
    assert {found.records[row].id for row in rows} == typical
    assert sorted(shown_rows(found, 100)) == list(range(8))
    assert len(set(shown_rows(found, len(typical) + 1))) == min(8, len(typical) + 1)


def test_no_name_is_declared_by_two_modules_that_are_put_together():
    declared = re.findall(r"^(?:async )?(?:const|let|class|function) (\w+)", inlined_script(), re.MULTILINE)
    assert len(declared) == len(set(declared)) > 20
    assert "import " not in re.sub(r"//.*", "", inlined_script())
    assert len(list(MAP_FILES.glob("*.js"))) == 10


def test_the_page_holds_no_folder_and_loads_nothing(html, found):
    assert str(Path(found.records[0].path).parent) not in html
    assert not re.search(r"(?:src|href)=[\"']?(?!data:)[\w/]", html) and "default-src 'none'" in html


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="no /usr/bin/chromium")
def test_the_file_opens_offline_shows_clusters_and_saves_a_selection(html, found, tmp_path):
    (tmp_path / "map.html").write_text(html, encoding="utf-8")
    problems = []
    with chromium() as browser, browser.new_context(offline=True) as context:
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda message: problems.append(message.text))
        page.goto((tmp_path / "map.html").as_uri())
        page.locator(".map-cluster").first.click()
        rows = np.flatnonzero(found.clusters == found.groups[0].number)
        page.wait_for_selector(f".map-selection .card >> nth={len(rows) - 1}")
        assert page.locator(".map-selection b").first.text_content().startswith("<!--<script>")
        assert not page.locator(".map-tagging").is_visible()
        with page.expect_download() as download:
            page.get_by_role("button", name="Save as CSV").click()
        saved = list(csv.reader(download.value.path().read_text("utf-8").splitlines()))
        expected = list(csv.reader(found.to_csv(rows.tolist(), with_folders=False).splitlines()))
        assert saved == expected
        page.reload()
        page.wait_for_selector(".map-cluster[aria-pressed=true]")
    assert problems == []
