"""Tables that were cut short or joined: nothing in a file of text says where it ends, so its lines and rows have to."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int
from numpy import ndarray

_FEWEST_REPEATED = 10


def check_line_end(text: str, path: Path) -> None:
    r"""Refuse a text whose last line does not end: half of ``48.0`` would be read as ``4``.

    Args:
        text: what a file holds; nothing at all passes.
        path: the file, for the message.

    Raises:
        ValueError: with the last line.

    Example:
        >>> check_line_end("response\n4", Path("a.csv"))
        Traceback (most recent call last):
        ValueError: Expected a line end after the last line of a.csv, got none after '4', as in a file that was cut
        short: copy or export it again, or end that line if the file is whole.
    """
    if text and not text.endswith(("\n", "\r")):
        raise ValueError(
            f"Expected a line end after the last line of {path}, got none after {text.splitlines()[-1][-60:]!r}, as in "
            "a file that was cut short: copy or export it again, or end that line if the file is whole."
        )


def check_complete(rows: pd.DataFrame, path: Path) -> None:
    """Refuse a table whose rows stop in the middle, and warn of one with gaps.

    Rows that count through images, neurons, phases and repetitions, one loop within the other, and stop before the
    outermost has come to the end of a round were cut short. Rows in any other order may leave out what was not
    recorded.

    Args:
        rows: one for each response, in the order of the file: ``stimulus_id``, ``neuroid_id``, ``repetition`` and, as
            there are, ``phase``; no two are the same.
        path: the file they are from, for messages.

    Warns:
        UserWarning: if some image has no row for some neuron in some phase or fewer than another one, or the rows stop
            within the first two rounds; with the numbers.

    Raises:
        ValueError: if they stop within a later one; with the numbers.

    Example:
        >>> images, neurons = ["a", "a", "b", "b", "c"], ["A", "B", "A", "B", "A"]
        >>> rows = pd.DataFrame({"stimulus_id": images, "neuroid_id": neurons, "repetition": "0"})
        >>> check_complete(rows, Path("a.csv"))
        Traceback (most recent call last):
        ValueError: Expected 6 rows (3 stimulus_id x 2 neuroid_id) in a.csv, got 5, which stop in the middle, as in a
        file that was cut short: copy or export it again, or write a row with an empty response for what was not
        recorded.
    """
    codes = {name: pd.factorize(rows[name])[0] for name in rows}
    shown = rows.drop(columns="neuroid_id")
    presentation = shown.groupby(list(shown), sort=False).ngroup().to_numpy()
    by_presentation = {"presentations": presentation, "neuroid_id": codes["neuroid_id"]}
    once = rows.drop(columns="repetition").drop_duplicates()
    gaps = {name: once[name].nunique() for name in once}
    for numbers in (_stopping(codes), _stopping(by_presentation)):
        if numbers and len(rows) >= 2 * math.prod([*numbers.values()][1:]):
            raise ValueError(
                f"Expected {math.prod(numbers.values()):,} rows ({_product(numbers)}) in {path}, got {len(rows):,}, "
                "which stop in the middle, as in a file that was cut short: copy or export it again, or write a row "
                "with an empty response for what was not recorded."
            )
        if numbers:
            _warn(len(rows), numbers, path)
            return
    times = rows.groupby(list(once), sort=False).size()
    if len(once) < math.prod(gaps.values()):
        _warn(len(once), gaps, path)
    elif times.min() < times.max():
        warnings.warn(
            f"{path} repeats images unequally often, {times.min():,} to {times.max():,} times for a neuron in a phase. "
            "Copy or export it again if it was cut short.",
            stacklevel=5,  # where Recording.load is called
        )


def check_not_doubled(rows: pd.DataFrame, responses: Float64[ndarray, " row"], path: Path) -> None:
    """Refuse a table that was joined with itself: its repetitions would make it look perfectly reliable.

    Args:
        rows: as of :func:`check_complete`, with repetitions that were counted here.
        responses: one for each row.
        path: the file they are from, for the message.

    Raises:
        ValueError: if ten or more rows repeat an image, neuron and phase, all with the same response as the first one,
            and these are not all one number.

    Example:
        >>> rows = pd.DataFrame({"stimulus_id": list("abcdefghij") * 2, "neuroid_id": "A"})
        >>> check_not_doubled(rows.assign(repetition="0"), np.arange(20.0) % 10, Path("a.csv"))
        Traceback (most recent call last):
        ValueError: Expected repetitions that differ in a.csv, got the same response in each of the 10 rows that repeat
        an image and a neuron, as in a file that was joined with itself: write every row once, or number the repetitions
        in a column of this name if they are real.
    """
    once = rows.drop(columns="repetition")
    again = once.duplicated().to_numpy()
    same = once.assign(response=responses).duplicated().to_numpy()
    if again.sum() >= _FEWEST_REPEATED and same[again].all() and len(np.unique(responses[again])) > 1:
        raise ValueError(
            f"Expected repetitions that differ in {path}, got the same response in each of the {again.sum():,} rows "
            "that repeat an image and a neuron, as in a file that was joined with itself: write every row once, or "
            "number the repetitions in a column of this name if they are real."
        )


def _stopping(codes: dict[str, Int[ndarray, " row"]]) -> dict[str, int] | None:
    """How often each loop runs, the outermost first, where the rows are an unfinished round of nested loops."""
    starts = {name: int(np.argmax(code == 1)) for name, code in codes.items() if code.any()}
    numbers = {name: int(codes[name].max()) + 1 for name in sorted(starts, key=lambda name: -starts[name])}
    n_rows = len(next(iter(codes.values())))
    if n_rows >= math.prod(numbers.values()):
        return None
    counted = np.unravel_index(np.arange(n_rows), tuple(numbers.values()))
    nested = all((codes[name] == count).all() for name, count in zip(numbers, counted, strict=True))
    return numbers if nested else None


def _warn(n_rows: int, numbers: dict[str, int], path: Path) -> None:
    warnings.warn(
        f"{path} has rows for {n_rows:,} of {math.prod(numbers.values()):,} responses ({_product(numbers)}); the "
        "others are taken as missing. Copy or export it again if it was cut short.",
        stacklevel=6,  # where Recording.load is called
    )


def _product(numbers: dict[str, int]) -> str:
    return " x ".join(f"{number:,} {name}" for name, number in numbers.items())
