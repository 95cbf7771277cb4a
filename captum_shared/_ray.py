"""Workers of Ray, on this machine or on a cluster: those that die are replaced, and their work is done again."""

from __future__ import annotations

import os
import reprlib
import socket
import sys
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final, TypeVar, final

from captum_shared._cluster import cluster, ray_package
from captum_shared._engine import Surroundings

Task = TypeVar("Task")
Result = TypeVar("Result")
Told = tuple[str, type[Warning], str, int]  # a warning: its text, kind, file and line

_DEATHS: Final = 5  # of workers over one piece of work, or one after the other before they have begun any
_PATIENCE: Final = 60  # seconds without a worker, after which that is told


@final
class RayEngine:
    """Does work on workers of Ray, each of which is a process that keeps what it has loaded.

    What is started here, on this machine, ends with the context; a cluster that was joined goes on without its workers.

    Args:
        address: the cluster to join; None to start one on this machine.
        workers: how many workers at the same time; None: as many as there are processors for. Each has as many
            threads as PyTorch has here, since what sums come to depends on how they are divided.
        gpus: whether every worker needs a graphics card to itself.

    Raises:
        ImportError: if Ray is not installed.

    Example:
        >>> with RayEngine(workers=2) as engine:
        ...     sorted(engine.map(_example, [-1, 2]))
        [(-1, 1), (2, 2)]
    """

    def __init__(self, address: str | None = None, *, workers: int | None = None, gpus: bool = False) -> None:
        self._ray = ray_package()
        self._address, self._workers, self._gpus = address, workers, gpus
        self._here = Surroundings.here()
        self._crew: list[_Member] = []
        self._joined = ExitStack()
        self._number, self._false_starts = 0, 0
        self._given: dict[Any, Any] = {}  # warnings, so that each is given once where once is enough

    def __enter__(self) -> RayEngine:
        """Begin; nothing is started before there is work.

        Returns:
            The engine.
        """
        return self

    def __exit__(self, *_: object) -> None:
        """End what was started."""
        self._dismiss(self._crew)
        self._number = 0
        self._joined.close()

    def map(
        self, build: Callable[[], Callable[[Task], Result]], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Do pieces of work, as :meth:`captum_shared._engine.Engine.map`.

        An exception in the work is raised here as it is, and a warning is given here. Arrays come as they lie in
        memory that is shared, so that they are not to be written to.

        Args:
            build: returns what does one of them.
            tasks: the pieces.

        Yields:
            Each piece and what came of it, as they are done.

        Raises:
            ConnectionError: if there is no cluster at the address.
            RuntimeError: if workers die over one piece again and again, or before they have begun any.
            ValueError: if a worker has other versions of packages, or another number of threads.
        """
        waiting = deque(enumerate(tasks))
        left, deaths = len(waiting), Counter[int]()
        if not waiting:
            return
        self._join()
        shared = self._ray.put(build)
        try:
            while left:
                self._hand_out(waiting, shared)
                for task, result in self._taken(waiting, deaths):
                    left -= 1
                    yield task, result
        finally:
            self._dismiss([member for member in self._crew if member.ready and member.at_hand])

    def _join(self) -> None:
        """Start Ray, or join it, unless that is done."""
        if self._number:
            return
        threads = self._here.threads
        processors = threads * (self._workers or max(1, (os.cpu_count() or 1) // threads))
        resources = self._joined.enter_context(cluster(self._address, processors=processors))
        resource, each = ("GPU", 1) if self._gpus else ("CPU", threads)
        self._number = self._workers or max(1, int(resources.get(resource, 0) // each))

    def _hand_out(self, waiting: deque[tuple[int, Any]], shared: Any) -> None:
        """Give a piece to everybody who has none, and then one in advance, but not the last ones."""
        while len(self._crew) < self._number:
            self._crew.append(self._member())
        for ahead in (1, 2):
            for member in self._crew:
                if member.ready and len(member.at_hand) < ahead and len(waiting) > (ahead - 1) * len(self._crew):
                    index, task = waiting.popleft()
                    member.at_hand.append((member.actor.do.remote([shared], task), index, task))

    def _member(self) -> _Member:
        environment = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(self._here.threads))
        if self._address is None:  # what is found here is found there
            environment["PYTHONPATH"] = os.pathsep.join(sys.path)
        actor = (
            self._ray.remote(_Worker)
            .options(num_cpus=self._here.threads, num_gpus=int(self._gpus), runtime_env={"env_vars": environment})
            .remote(socket.gethostname())
        )
        return _Member(actor, deque([(actor.surroundings.remote(), -1, None)]))

    def _taken(self, waiting: deque[tuple[int, Any]], deaths: Counter[int]) -> Iterator[tuple[Any, Any]]:
        """Wait until somebody is done, and take what came of it, if that is a result."""
        first = {member.at_hand[0][0]: member for member in self._crew if member.at_hand}
        done, _ = self._ray.wait([*first], timeout=_PATIENCE)
        if not done:
            self._tell_of_waiting()
        for reference in done:
            member = first[reference]
            try:
                content = self._ray.get(reference)
            except self._ray.exceptions.RayTaskError as error:
                raise self._cause(error) from None
            except self._ray.exceptions.RayError as error:
                self._bury(member, waiting, deaths, error)
                continue
            _, _, task = member.at_hand.popleft()
            if member.ready:
                result, told = content
                self._warn(told)
                yield task, result
            else:
                self._check(member, content)

    def _cause(self, error: Any) -> Exception:
        """What was raised by the work itself."""
        cause: Exception = error.cause
        if isinstance(cause, self._ray.exceptions.RaySystemError):
            last = str(cause).strip().splitlines()[-1]
            return RuntimeError(
                f"A worker could not take what it was sent ({last}): install the packages that define the network "
                "where workers run, too."
            )
        return cause

    def _bury(self, member: _Member, waiting: deque[tuple[int, Any]], deaths: Counter[int], error: Exception) -> None:
        """Take back what a dead worker had at hand, unless too many have died of it."""
        self._dismiss([member])
        _, index, task = member.at_hand[0]
        if not member.ready:
            self._false_starts += 1
            if self._false_starts == _DEATHS:
                raise RuntimeError(
                    f"{_DEATHS} workers died one after the other before they had begun ({_first_line(error)}): see "
                    "that captum-shared is installed where workers run, and that there is memory enough."
                ) from error
            return
        deaths[index] += 1
        if deaths[index] == _DEATHS:
            raise RuntimeError(
                f"{_DEATHS} workers died over the same piece of work, {reprlib.repr(task)} ({_first_line(error)}): "
                "give workers more memory, or run fewer on a machine."
            ) from error
        waiting.extendleft((index, task) for _, index, task in reversed(member.at_hand))

    def _check(self, member: _Member, theirs: Surroundings) -> None:
        """Let a worker begin that computes what would be computed here."""
        ours = self._here
        if (theirs.packages, theirs.threads) != (ours.packages, ours.threads):
            raise ValueError(
                f"Expected workers with what is installed here, but one differs from it in {ours.differences(theirs)} "
                "(here and there): results would depend on who computes them. Install the same versions everywhere."
            )
        if theirs != ours:
            self._warn(
                [
                    (
                        f"A worker's processor differs from the one here ({ours.differences(theirs)}): results may "
                        "differ in their last digits.",
                        UserWarning,
                        __file__,
                        0,
                    )
                ]
            )
        self._false_starts, member.ready = 0, True

    def _tell_of_waiting(self) -> None:
        if not any(member.ready for member in self._crew):
            needed = f"{self._here.threads} processors" + " and a graphics card" * self._gpus
            self._warn(
                [(f"No worker could begin yet: each needs {needed} that nobody else uses.", UserWarning, __file__, 0)]
            )

    def _warn(self, told: Iterable[Told]) -> None:
        for text, kind, file, line in told:
            warnings.warn_explicit(text, kind, file, line, registry=self._given)

    def _dismiss(self, members: list[_Member]) -> None:
        """End workers, whatever they are at."""
        for member in [*members]:
            self._crew.remove(member)
            self._ray.kill(member.actor)


@dataclass(eq=False)
class _Member:
    """A worker, as the engine sees it.

    Attributes:
        actor: of Ray.
        at_hand: what it was asked for and has not been taken: a reference to what comes of it, and the piece of work
            with its index. The first is about what it is, after which it is ready.
        ready: whether it can be given work.
    """

    actor: Any
    at_hand: deque[tuple[Any, int, Any]]
    ready: bool = False


class _Worker:
    """What runs in a process of Ray."""

    def __init__(self, home: str) -> None:
        self._home = home
        self._built: Any = None
        self._work: Any = None

    def surroundings(self) -> Surroundings:
        """Tell what is installed."""
        return Surroundings.here()

    def do(self, shared: list[Any], task: Any) -> tuple[Any, list[Told]]:
        """Do a piece of work; what it takes is loaded with the first one."""
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            if self._built != shared[0]:
                self._work = None
                self._work, self._built = ray_package().get(shared[0])(), shared[0]
            try:
                result = self._work(task)
            except FileNotFoundError as error:
                raise self._elsewhere(error) from None
        told = ((str(each.message), each.category, each.filename, each.lineno) for each in given)
        return result, [*dict.fromkeys(told)]

    def _elsewhere(self, error: FileNotFoundError) -> FileNotFoundError:
        """What a missing file may mean on another machine."""
        host = socket.gethostname()
        if host == self._home:
            return error
        return FileNotFoundError(
            f"{error} This was on {host}: workers read files by the same paths as {self._home}, so put them on a file "
            "system that all machines share."
        )


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).splitlines()[:1])}"


def _example() -> Callable[[int], int]:
    return abs
