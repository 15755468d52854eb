"""Screenshot of an HTML report: uv run python docs/make_report_picture.py REPORT.html PICTURE.jpg"""

from __future__ import annotations

import argparse
from pathlib import Path

from playwright.sync_api import sync_playwright

CHROMIUM = "/usr/bin/chromium"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--part", default="body", help="CSS selector of the element to show")
    parser.add_argument("--width", type=int, default=1160)
    arguments = parser.parse_args()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=False)
        page = browser.new_page(viewport={"width": arguments.width, "height": 900})
        page.goto(arguments.report.absolute().as_uri())
        page.locator(arguments.part).first.screenshot(path=arguments.picture, type="jpeg", quality=88)
        browser.close()
    print(f"wrote {arguments.picture}")


if __name__ == "__main__":
    main()
