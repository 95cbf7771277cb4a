"""Where work is done: in this process, or on workers of Ray, with the same results."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar, final, runtime_checkable

import torch

from captum_shared._resuming import versions

Task = TypeVar("Task")
Result = TypeVar("Result")

ENGINES: Final = ("local", "ray")
"""Names of the engines."""

_PACKAGES: Final = ("captum-shared", "captum", "numpy", "pillow", "scikit-learn", "torch", "torchvision")


@runtime_checkable
class Engine(Protocol):
    """What does pieces of work, one after the other or several at once."""

    def map(
        self, build: Callable[[], Callable[[Task], Result]], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Do pieces of work.

        Args:
            build: returns what does one of them; called once by every worker, which loads there what all have in
                common. It is pickled, as are tasks and results.
            tasks: the pieces. What one comes to depends on nothing but itself; it is done again if its worker dies.

        Yields:
            Each piece and what came of it, in any order.
        """
        ...


@final
class LocalEngine:
    """Does the work in this process, in order.

    Example:
        >>> list(LocalEngine().map(lambda: abs, [-1, 2]))
        [(-1, 1), (2, 2)]
    """

    def map(
        self, build: Callable[[], Callable[[Task], Result]], tasks: Iterable[Task]
    ) -> Iterator[tuple[Task, Result]]:
        """Do pieces of work, as :meth:`Engine.map`.

        Args:
            build: returns what does one of them; not called if there are none.
            tasks: the pieces.

        Yields:
            Each piece and what came of it.
        """
        work: Callable[[Task], Result] | None = None
        for task in tasks:
            work = work or build()
            yield task, work(task)


def engine_by_name(
    name: str = "local", *, address: str | None = None, workers: int | None = None, gpus: bool = False
) -> AbstractContextManager[Engine]:
    """Return an engine; what it starts ends with its context.

    Args:
        name: one of :data:`ENGINES`.
        address: a cluster of Ray to join; by default the one that ``RAY_ADDRESS`` names, otherwise one is started on
            this machine.
        workers: how many workers at the same time; by default as many as there are processors for.
        gpus: whether every worker needs a graphics card to itself.

    Returns:
        A context of the engine.

    Raises:
        ImportError: if Ray is not installed.
        ValueError: if there is no such engine, or an option does not go with it.

    Example:
        >>> with engine_by_name("local") as engine:
        ...     dict(engine.map(lambda: str.upper, ["a"]))
        {'a': 'A'}
    """
    if name not in ENGINES:
        raise ValueError(f"Expected an engine of {', '.join(ENGINES)}, got {name!r}.")
    if name == "local":
        if address is not None or workers is not None:
            raise ValueError("Expected an address or a number of workers with the engine ray only: add --engine ray.")
        return nullcontext(LocalEngine())
    if workers is not None and workers < 1:
        raise ValueError(f"Expected at least 1 worker, got {workers}.")
    from captum_shared._ray import RayEngine

    return RayEngine(address or os.environ.get("RAY_ADDRESS"), workers=workers, gpus=gpus)


@final
@dataclass(frozen=True)
class Surroundings:
    """What besides its input decides what a computation comes to, to the last bit.

    Attributes:
        packages: version by name, Python's too.
        threads: how many threads PyTorch divides sums among.
        instructions: the set of instructions for which PyTorch chooses its kernels.
    """

    packages: dict[str, str]
    threads: int
    instructions: str

    @classmethod
    def here(cls) -> Surroundings:
        """Return those of this process.

        Returns:
            Its surroundings.

        Example:
            >>> Surroundings.here().differences(Surroundings.here())
            ''
        """
        python = ".".join(platform.python_version_tuple()[:2])
        return cls(
            {"Python": python, **versions(*_PACKAGES)}, torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()
        )

    def differences(self, other: Surroundings) -> str:
        """Tell in what others differ.

        Args:
            other: the others.

        Returns:
            What differs, with both values; empty if nothing does.
        """
        mine, theirs = self._told(), other._told()
        return ", ".join(f"{name} {mine[name]} and {theirs.get(name)}" for name in mine if mine[name] != theirs[name])

    def _told(self) -> dict[str, Any]:
        return {**self.packages, "threads": self.threads, "instructions": self.instructions}
