"""The counts of the trials, at the end of a run."""

import json
from pathlib import Path

import pytest
from trial import table


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    reports = [*terminalreporter.stats.get("passed", []), *terminalreporter.stats.get("failed", [])]
    counts = dict(value for each in reports for name, value in each.user_properties if name == "mutants")
    if counts:
        terminalreporter.section("damaged files")
        terminalreporter.write_line(table(counts))
    if counts and config.getoption("--counts"):
        Path(config.getoption("--counts")).write_text(json.dumps(counts, indent=2) + "\n", encoding="utf-8")
