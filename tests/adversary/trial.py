"""Damaged files are read by a process with limits of time and memory, and what becomes of each is told."""

import contextlib
import multiprocessing
import os
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import jaxtyping
import pytest
import torch
from mutants import mutant

from captum_shared.recordings.formats import apart

resource = pytest.importorskip("resource", reason="limits what a process may have as POSIX does")

OUTCOMES = ("sentence", "same", "different", "unnamed", "raw", "hang", "crash")
"""What may become of a file: the last four are faults, and ``different`` where the format could have told."""

SECONDS = 90  # for one file: many times as long as any takes, on a busy machine
READER_SECONDS = 20  # for libhdf5, of which mutants are known that keep it busy for ever
MEMORY = 2**31  # bytes beyond what the process has when it begins


@dataclass(frozen=True)
class Seed:
    """A good file, and how it is read.

    Attributes:
        name: of the format.
        file: name of the file.
        write: writes it, and what it needs beside it, to a folder.
        read: reads it, to bytes that are the same for what is the same.
        tells: names of damages after which nothing else may be read, by checksum or structure; None: all of them.
    """

    name: str
    file: str
    write: Callable[[Path], object]
    read: Callable[[Path], bytes]
    tells: frozenset[str] | None = frozenset()


@dataclass
class Counts:
    """How often what became of the mutants of a format, and the faults among them."""

    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def outcome_of(read: Callable[[Path], bytes], path: Path, expected: bytes) -> tuple[str, str]:
    """Read a file, and say what became of it."""
    try:
        return ("same" if read(path) == expected else "different"), ""
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        if type(error) not in (ValueError, TypeError, FileNotFoundError) or not is_sentence(str(error)):
            return "raw", said
        return ("sentence" if str(path) in str(error) else "unnamed"), said


def is_sentence(said: str) -> bool:
    """What was expected, and what to do."""
    return ("xpected" in said or "could not be read" in said) and said.rstrip().endswith((".", "?", ")"))


def tried(seed: Seed, others: list[bytes], indices: range, folder: Path) -> Counts:
    """Damage a file in as many ways, and read it each time."""
    seed.write(folder)
    path, counts = folder / seed.file, Counts()
    content, expected = path.read_bytes(), seed.read(path)
    worker: _Worker | None = _Worker(seed, path, expected)
    try:
        if worker.outcome()[0] != "same":
            raise ValueError(f"Expected to read the good file {path} in the same way twice, got: {worker.outcome()}.")
        for index in indices:
            damage, damaged = mutant(content, others[index % len(others)], index)
            path.write_bytes(damaged)
            for _ in range(2):  # what stands still once may have had to wait for the machine
                worker = worker or _Worker(seed, path, expected)
                outcome, said = worker.outcome()
                if outcome in ("hang", "crash"):
                    worker.end()
                    worker = None
                if outcome != "hang":
                    break
            counts.outcomes[outcome] += 1
            told = seed.tells is None or damage in seed.tells
            if outcome in OUTCOMES[3:] or (outcome == "different" and told):
                counts.faults.append(f"{seed.name} {index} {damage}: {outcome} {said}")
    finally:
        if worker is not None:
            worker.end()
        path.write_bytes(content)
    return counts


class _Worker:
    """A process that reads the same file again and again, and is killed when it takes too long."""

    def __init__(self, seed: Seed, path: Path, expected: bytes) -> None:
        context = multiprocessing.get_context("fork")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, seed, path, expected))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads: they are not used
            self._process.start()
        theirs.close()

    def outcome(self) -> tuple[str, str]:
        """What becomes of the file as it is now."""
        try:
            self._connection.send(None)
            if not self._connection.poll(SECONDS):
                return "hang", f"after {SECONDS} s"
            outcome: tuple[str, str] = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(5)
            return "crash", f"status {self._process.exitcode}"
        return outcome

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.join()
        self._connection.close()


def _work(connection: Connection, seed: Seed, path: Path, expected: bytes) -> None:
    jaxtyping.config.update("jaxtyping_disable", True)  # as installed
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    apart.SECONDS = READER_SECONDS
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(EOFError):
        while True:
            connection.recv()
            connection.send(outcome_of(seed.read, path, expected))
    apart._end()
    os._exit(0)
