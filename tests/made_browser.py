"""A real browser for tests of pages; those tests carry ``IN_BROWSER`` and skip where there is none."""

from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")
IN_BROWSER = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no /usr/bin/chromium: apt-get install chromium"),
]


@contextmanager
def chromium(*arguments):
    """A running browser, with more arguments of its command line."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=CHROMIUM, chromium_sandbox=False, args=list(arguments)
        )
        yield browser
        browser.close()
