"""Work in this process and on workers of Ray: the same results, also where workers die."""

import os
import signal
import socket
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray as package
from toy_experiment import SIZE, contents, network, recorded, study
from toys import Randomised

from captum_shared import LayerFeatures
from captum_shared._engine import Engine, LocalEngine, Surroundings, engine_by_name
from captum_shared._ray import RayEngine
from captum_shared.images import rgb_preprocess

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning"),  # of Ray's own
    pytest.mark.filterwarnings("ignore:No worker could begin yet"),  # on a busy machine
]


@pytest.fixture(scope="module")
def ray() -> Iterator[Engine]:
    with engine_by_name("ray", workers=2) as engine:
        yield engine


class Squares:
    """Squares numbers; ends its process for those in a folder, each time or only the first."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.built = folder, 0

    def __call__(self) -> Callable[[int], tuple[np.ndarray, int, int]]:
        self.built += 1
        return self.square

    def square(self, number: int) -> tuple[np.ndarray, int, int]:
        deadly = self.folder / str(number)
        if deadly.exists():
            if deadly.read_text() == "once":
                deadly.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return np.full(30_000, number**2), os.getpid(), self.built


def squares(engine: Engine, folder: Path, numbers: range) -> tuple[dict[int, int], dict[int, int]]:
    """The squares, and how often each process had built what computes them."""
    done = dict(engine.map(Squares(folder), numbers))
    return {number: int(values.min()) for number, (values, *_) in done.items()}, {
        process: built for _, process, built in done.values()
    }


def expected(numbers: range) -> dict[int, int]:
    return {number: number * number for number in numbers}


def test_work_is_done_here_in_order_and_nothing_is_loaded_for_none() -> None:
    assert list(LocalEngine().map(lambda: str, [2, 1])) == [(2, "2"), (1, "1")]
    assert list(LocalEngine().map(lambda: pytest.fail("loaded"), [])) == []


def test_workers_load_what_they_need_once(ray: Engine, tmp_path: Path) -> None:
    done, built = squares(ray, tmp_path, range(20))
    assert done == expected(range(20))
    assert all(times == 1 for times in built.values())
    assert 1 <= len(built) <= 2
    assert os.getpid() not in built
    assert squares(ray, tmp_path, range(0)) == ({}, {})


def test_what_a_dead_worker_had_at_hand_is_done_again(ray: Engine, tmp_path: Path) -> None:
    for number in (0, 3, 9):
        (tmp_path / str(number)).write_text("once")
    done, built = squares(ray, tmp_path, range(10))
    assert done == expected(range(10))
    assert not list(tmp_path.iterdir())
    assert len(built) >= 2


def test_what_kills_every_worker_is_named(ray: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("captum_shared._ray._DEATHS", 2)
    (tmp_path / "4").write_text("always")
    with pytest.raises(RuntimeError, match="2 workers died over the same piece of work, 4 "):
        squares(ray, tmp_path, range(5))
    assert squares(ray, tmp_path, range(4))[0] == expected(range(4)), "and others can be done"


def _told(number: int) -> int:
    warnings.warn(f"odd {number % 2}", UserWarning, stacklevel=1)
    if number == 7:
        raise FileNotFoundError(f"Expected a file, got none of number {number}.")
    return number


def test_errors_and_warnings_come_home(ray: Engine) -> None:
    with pytest.warns(UserWarning, match="odd") as told:
        assert sorted(ray.map(lambda: _told, range(4))) == [(number, number) for number in range(4)]
    assert {str(each.message) for each in told} == {"odd 0", "odd 1"}
    warnings.simplefilter("ignore")
    with pytest.raises(FileNotFoundError, match=r"^Expected a file, got none of number 7\.$"):
        list(ray.map(lambda: _told, range(8)))


def _missing(number: int) -> int:
    raise FileNotFoundError(f"Expected a file, got none of number {number}.")


def test_a_file_that_another_machine_does_not_see_is_explained(
    ray: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(ray, RayEngine)
    with pytest.raises(FileNotFoundError, match=r"^Expected a file, got none of number 0\.$"):
        list(ray.map(lambda: _missing, [0]))
    monkeypatch.setattr(socket, "gethostname", lambda: "login")  # of this process alone
    ray._dismiss(ray._crew)
    with pytest.raises(
        FileNotFoundError, match=r"none of number 0\. This was on .*: workers read files by the same paths"
    ):
        list(ray.map(lambda: _missing, [0]))
    ray._dismiss(ray._crew)


@pytest.mark.filterwarnings("ignore:.* of 22 images cannot be read")
def test_a_study_by_workers_is_that_of_one_process(ray: Engine, tmp_path: Path) -> None:
    recording, layers = recorded(tmp_path / "images"), LayerFeatures(Randomised(0)(network).float(), ("1", "3"))
    layers.deepest.preprocess = rgb_preprocess(SIZE)
    (recording.paths or ())[5].write_text("no image")
    study(recording, tmp_path / "here", features=layers, skip_bad=True)
    study(recording, tmp_path / "there", features=layers, skip_bad=True, engine=ray)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")


def test_workers_with_other_versions_are_refused(ray: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(ray, RayEngine)
    here = Surroundings.here()
    other = Surroundings({**here.packages, "torch": "1.0"}, here.threads, here.instructions)
    monkeypatch.setattr(ray, "_here", other)
    ray._dismiss(ray._crew)
    with pytest.raises(ValueError, match=rf"differs from it in torch 1\.0 and {here.packages['torch']}"):
        list(ray.map(lambda: abs, [1]))


def test_nothing_is_left_behind(ray: Engine) -> None:
    """Whatever ends the work, what was started ends with it. Last, since there is one Ray in a process."""
    assert isinstance(ray, RayEngine)
    folder = Path(package.get_runtime_context().worker.node.get_session_dir_path())
    processes = psutil.Process().children(recursive=True)

    def interrupted() -> None:
        with ray as engine:
            for _ in engine.map(lambda: abs, range(5)):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    _, alive = psutil.wait_procs(processes, timeout=20)
    assert len(processes) > 2
    assert alive == []
    assert not folder.parent.exists()
    assert not Path.home().joinpath(".ray").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"name": "spark"}, "Expected an engine of local, ray, got 'spark'"),
        ({"name": "local", "workers": 2}, "add --engine ray"),
        ({"name": "local", "address": "node:6379"}, "add --engine ray"),
        ({"name": "ray", "workers": 0}, "Expected at least 1 worker, got 0"),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        engine_by_name(**options)


def test_a_cluster_that_does_not_answer_is_named_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with (
            engine_by_name("ray", address=address) as engine,
            pytest.raises(ConnectionError, match=f"Expected a cluster of Ray at {address}, but nothing answers there"),
        ):
            list(engine.map(lambda: abs, [1]))


def test_an_engine_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ImportError, match=r"pip install 'captum-shared\[distributed\]'"):
        engine_by_name("ray")
