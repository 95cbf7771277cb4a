"""Kills of workers of Ray, and of what drives them: the files are those of one process, and no process is left."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from captum_shared.synthetic import simulate_recording

pytestmark = pytest.mark.adversary
RESULTS = ("study.json", "maps.npz", "readout.safetensors")
SECONDS = 20  # between kills, where trials are long
WORKERS = ("--engine", "ray", "--workers", "2")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    budget = int(pytestconfig.getoption("--budget"))
    n_neurons, size = (8, 60) if budget == 1 else (100 * budget, 210)
    folder = tmp_path_factory.mktemp("world") / "world"
    simulate_recording(folder, format="npz", n_neurons=n_neurons, n_creatures=size, n_artefacts=size)
    return folder


@pytest.fixture(scope="module")
def expected(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process makes."""
    output = tmp_path_factory.mktemp("whole") / "study"
    assert started(world, output).wait() == 0
    return results(output)


def started(world: Path, output: Path, *options: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "captum_shared", "study", str(world / "recording.npz"), "--preferred", "creature"]
    command += ["--images", str(world / "images"), "--model", "embedded", "--layer", "features", "--folds", "2"]
    command += ["--method", "paper", "--all-neurons", "--output", str(output), "--resume", *options]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def results(output: Path) -> dict[str, bytes]:
    return {name: (output / name).read_bytes() for name in RESULTS}


def parts(output: Path) -> int:
    return len(list((output / ".progress").glob("*.npz")))


def descendants(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def workers(process: subprocess.Popen[bytes]) -> Iterator[psutil.Process]:
    for each in descendants(process):
        with suppress(psutil.NoSuchProcess):
            if "_Worker" in each.cmdline()[0]:
                yield each


def waited(until: Callable[[], bool], seconds: float = 300) -> bool:
    start = time.monotonic()
    while not until():
        if time.monotonic() - start > seconds:
            return False
        time.sleep(0.05)
    return True


def still_alive(processes: list[psutil.Process], seconds: float = 60) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=seconds)[1]


def test_workers_that_are_killed_change_nothing(
    world: Path, expected: dict[str, bytes], tmp_path: Path, budget: int
) -> None:
    """Every 20 s, or where it is to be short after every second piece of work."""
    driver, rng, kills = started(world, tmp_path / "study", *WORKERS), random.Random(0), 0
    seen: dict[int, psutil.Process] = {}
    last, before = time.monotonic(), 0
    while driver.poll() is None:
        seen |= {each.pid: each for each in descendants(driver)}
        due = time.monotonic() - last > SECONDS if budget > 1 else kills < 3 and parts(tmp_path / "study") >= before + 2
        victims = sorted(workers(driver), key=lambda each: each.pid) if due else []
        if victims:
            with suppress(psutil.NoSuchProcess):
                rng.choice(victims).kill()
                kills, last, before = kills + 1, time.monotonic(), parts(tmp_path / "study")
        time.sleep(0.05)
    assert driver.returncode == 0
    assert kills >= 2
    assert results(tmp_path / "study") == expected
    assert still_alive([*seen.values()]) == []
    print(f"{kills} kills of workers")


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_driver_and_their_work_goes_on(
    world: Path, expected: dict[str, bytes], tmp_path: Path, budget: int, kind: signal.Signals
) -> None:
    """At once after SIGTERM and SIGINT; after SIGKILL two of Ray's agents wait for a minute to tell of it."""
    if kind != signal.SIGKILL and budget == 1:
        pytest.skip("at length only")
    driver = started(world, tmp_path / "study", *WORKERS)
    assert waited(lambda: parts(tmp_path / "study") >= 4 or driver.poll() is not None)
    processes = descendants(driver)
    driver.send_signal(kind)
    ended = time.monotonic()
    status = driver.wait(60)
    assert status == (-kind if kind == signal.SIGKILL else 128 + kind)
    assert len(processes) > 3
    alive = still_alive(processes, 150 if kind == signal.SIGKILL and budget > 1 else 30)
    assert [each for each in alive if kind != signal.SIGKILL or budget > 1 or "Agent" not in each.name()] == []
    print(f"{kind.name}: all {len(processes)} processes ended within {time.monotonic() - ended:.1f} s")
    resumed = started(world, tmp_path / "study", *(WORKERS if budget > 1 else ()))
    assert resumed.wait() == 0
    assert results(tmp_path / "study") == expected
