"""One browser for all pages, which are to open without any error and any request."""

from collections.abc import Iterator

import pytest
from browsing import NAMES, Window, chromium, start
from playwright.sync_api import Browser, sync_playwright


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, started once; tests are skipped where there is none."""
    executable = chromium()
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on PATH, and CHROMIUM names none")
    with sync_playwright() as playwright:
        started = start(playwright, executable)
        yield started
        started.close()


@pytest.fixture
def window(browser: Browser) -> Iterator[Window]:
    """Opens pages; the test fails if one of them reports an error, or asks for anything but its file."""
    opened = Window(browser)
    yield opened
    assert opened.faults == []
