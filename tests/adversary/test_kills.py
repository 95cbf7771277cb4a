"""Kills at random moments: work goes on to the same files, and leaves nothing behind."""

import os
import signal
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from toy_work import Work, contents, works

pytestmark = pytest.mark.adversary


@pytest.fixture(scope="module", params=["study", "benchmark", "store"])
def work(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    with pytest.MonkeyPatch.context() as patch:
        yield works(tmp_path_factory.mktemp("works"), patch)[request.param]


def started(work: Work, output: Path) -> int:
    """Begin work in another process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads in a process that forks
        process = os.fork()
    if process == 0:
        try:
            work(output, True)
        finally:
            os._exit(0)
    return process


def test_work_that_was_killed_goes_on_to_the_same_files(work: Work, tmp_path: Path, budget: int) -> None:
    start = time.monotonic()
    work(tmp_path / "whole", False)
    took, whole = time.monotonic() - start, contents(tmp_path / "whole")
    rng, killed = np.random.default_rng(0), 0
    for trial in range(2 * budget):
        output = tmp_path / f"killed {trial}"
        for _ in range(3):  # and it is killed again while it goes on
            process = started(work, output)
            time.sleep(rng.uniform(0, took) * (0.02 if trial % 4 == 3 else 0.7))
            os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            killed += os.WIFSIGNALED(status)
        work(output, True)
        assert contents(output) == whole, trial
    assert killed > budget
    print(f"{killed} kills in {2 * budget} folders")
