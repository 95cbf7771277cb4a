from collections.abc import Iterator

import jaxtyping
import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--budget", type=int, default=1, help="How much longer the trials of tests/adversary are to be.")
    parser.addoption("--counts", help="File for the counts of the trials, as JSON.")


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
