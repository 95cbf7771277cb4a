"""A disk that is full, from the start or later: what is there goes on to the same files once there is room."""

import errno
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy_work import Work, contents, works

resource = pytest.importorskip("resource", reason="limits what a process may have as POSIX does")
pytestmark = pytest.mark.adversary


@pytest.fixture(scope="module", params=["study", "benchmark"])
def work(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Work]:
    with pytest.MonkeyPatch.context() as patch:
        yield works(tmp_path_factory.mktemp("works"), patch)[request.param]


def status_of(work: Work, output: Path, largest: int) -> int:
    """Work in another process that can write no file larger than this; 28 is what a full disk is told by."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads in a process that forks
        process = os.fork()
    if process == 0:
        status = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
            work(output, True)
            status = 0
        except OSError as error:
            status = errno.ENOSPC if error.errno in (errno.EFBIG, errno.ENOSPC) else 2
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_work_goes_on_once_there_is_room(work: Work, tmp_path: Path, budget: int) -> None:
    work(tmp_path / "whole", False)
    whole = contents(tmp_path / "whole")
    sizes = sorted({0, 1, *(len(content) - 1 for content in whole.values()), *(100 * k for k in range(1, 60))})
    for largest in sizes[:: max(1, len(sizes) // (2 * budget))]:
        output = tmp_path / f"up to {largest}"
        assert status_of(work, output, largest) in (0, errno.ENOSPC), largest
        left = [path.name for path in output.rglob("*") if path.name.startswith(".captum-shared-")]
        assert left == []
        work(output, True)
        assert contents(output) == whole, largest
