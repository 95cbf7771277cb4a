import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import jaxtyping
import pandas as pd
import pytest
from browsing import NAMES, Window, chromium, start
from playwright.sync_api import Browser, sync_playwright

if TYPE_CHECKING:
    from captum_shared.recordings.recording import Recording


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--budget", type=int, default=1, help="How much longer the trials of tests/adversary are to be.")
    parser.addoption("--counts", help="File for the counts of the trials, as JSON.")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The counts of the trials, at the end of a run."""
    reports = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    counts = dict(value for each in reports for name, value in each.user_properties if name == "mutants")
    if counts:
        terminalreporter.section("damaged files")
        terminalreporter.write_line(pd.DataFrame(counts).T.fillna(0).astype(int).to_string())
    if counts and config.getoption("--counts"):
        Path(config.getoption("--counts")).write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")


@pytest.fixture
def budget(pytestconfig: pytest.Config) -> int:
    """By what to multiply the length of a trial: 1 unless it is run at length."""
    return int(pytestconfig.getoption("--budget"))


@pytest.fixture
def as_installed() -> Iterator[None]:
    """Without the type checks that only tests have, so that a wrong argument meets the package's own message."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def recording(tmp_path: Path) -> "Recording":
    from toy_experiment import recorded  # not before jaxtyping checks what is imported

    return recorded(tmp_path / "images")


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
