"""The judges of pages, on pages with known faults."""

from pathlib import Path

import pytest
from browsing import PHONE, Window, hindrances, overflow
from playwright.sync_api import Browser

HEAD = '<!DOCTYPE html><html lang="en"><head><title>A page</title><meta name="viewport" content="width=device-width">'


def written(folder: Path, body: str) -> Path:
    file = folder / "page.html"
    file.write_text(f"{HEAD}</head><body><main><h1>A page</h1>{body}</main></body></html>", encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("<script>console.error('alas')</script>", "error: alas"),
        ("<script>console.warn('alas')</script>", "warning: alas"),
        ("<script>throw new Error('thrown')</script>", "error: thrown"),
        ("<script>alert('hostile')</script>", "dialog: hostile"),
        ("<img src='missing.png' alt=''>", "request: file://"),
        ("<img src='http://127.0.0.1:9/a.png' alt=''>", "request: http://127.0.0.1:9/a.png"),
    ],
    ids=["console", "warning", "exception", "dialog", "file", "network"],
)
def test_what_goes_wrong_is_told(browser: Browser, tmp_path: Path, body: str, fault: str) -> None:
    opened = Window(browser)
    with opened.page(written(tmp_path, body)) as page:
        page.wait_for_load_state("networkidle")
    assert any(each.startswith(fault) for each in opened.faults)


def test_a_plain_page_has_no_fault(window: Window, tmp_path: Path) -> None:
    with window.page(written(tmp_path, "<p>Text</p>"), bypass_csp=True) as page:
        assert hindrances(page) == []
        assert overflow(page) == 0


def test_hindrances_are_found(window: Window, tmp_path: Path) -> None:
    with window.page(written(tmp_path, "<button></button>"), bypass_csp=True) as page:
        assert [each.split()[0] for each in hindrances(page)] == ["button-name"]


def test_what_is_too_wide_for_a_phone_is_found(window: Window, tmp_path: Path) -> None:
    with window.page(written(tmp_path, '<div style="width: 500px">wide</div>'), size=PHONE) as page:
        assert overflow(page) > 100
