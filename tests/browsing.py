"""Pages in a real browser: what goes wrong on them is told, and what hinders people is looked for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--no-sandbox",  # tests run as root in containers, and open nothing but files they have written
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
DESKTOP, PHONE = (1280, 900), (360, 740)


def chromium() -> str | None:
    """The browser: what CHROMIUM names, or what is installed; None if there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


def start(playwright: Playwright, executable: str) -> Browser:
    return playwright.chromium.launch(executable_path=executable, args=list(ARGUMENTS))


class Window:
    """Opens files in windows of their own, and keeps what goes wrong in any of them."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.faults: list[str] = []

    @contextmanager
    def page(
        self,
        file: Path,
        *,
        size: tuple[int, int] = DESKTOP,
        dark: bool = False,
        fragment: str = "",
        bypass_csp: bool = False,
    ) -> Iterator[Page]:
        """Open a file; errors on the page and requests for anything but the file itself go to ``faults``."""
        address = file.resolve().as_uri() + fragment
        context = self._browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            has_touch=size == PHONE,
            bypass_csp=bypass_csp,
        )
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: self._heard(message.type, message.text))
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (self.faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self._requested(request.url, address))
        page.on("popup", lambda popup: self.faults.append(f"popup: {popup.url}"))
        try:
            page.goto(address)
            yield page
        finally:
            context.close()

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.faults.append(f"{kind}: {text}")

    def _requested(self, url: str, address: str) -> None:
        if url.split("#")[0] != address.split("#")[0] and not url.startswith("data:"):
            self.faults.append(f"request: {url[:200]}")


def hindrances(page: Page) -> list[str]:
    """What axe-core finds serious or critical on a page that was opened with ``bypass_csp``."""
    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']} ({each['impact']}): {node['html'][:200]} {node['failureSummary'][:200]}"
        for each in found
        if each["impact"] in ("serious", "critical")
        for node in each["nodes"][:3]
    ]


def overflow(page: Page) -> int:
    """By how many pixels a page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
