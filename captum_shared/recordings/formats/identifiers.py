"""Identifiers and names out of files: always text, and listed shortly in messages."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from jaxtyping import Int
from numpy import ndarray

Choice: TypeAlias = Sequence[str] | Sequence[int] | Sequence[bool] | ndarray


def as_text(values: Iterable[Any], where: str = "names") -> tuple[str, ...]:
    """Every value as text: ``"007"`` stays, 7 and 7.0 become ``"7"``, bytes are UTF-8, a missing one is ``""``.

    Args:
        values: identifiers or names as a file holds them; an array has one axis that is longer than 1.
        where: what they are, and what they are in, for the message.

    Returns:
        One string per value.

    Raises:
        ValueError: if there is more than one axis, a value is no text or number, or not in UTF-8.

    Example:
        >>> as_text([b"hand", "007", 7.0, float("nan"), None])
        ('hand', '007', '7', '', '')
        >>> as_text(np.array([["A"], ["B"]]))
        ('A', 'B')
    """
    if isinstance(values, str | bytes):
        raise ValueError(f"Expected a list of {where}, got the text {values!r}: write [{values!r}].")
    if isinstance(values, np.ndarray):
        if values.size != max(values.shape, default=1):
            raise ValueError(
                f"Expected {where} along one axis, got the shape {values.shape}: write one for each entry."
            )
        values = values.reshape(-1).tolist()
    return tuple(_as_text(value, where) for value in values)


def meant(names: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """What is probably meant by names that are almost right.

    Args:
        names: as they are written.
        known: the right ones that are still missing.

    Returns:
        The right name for each that is close to one: in the plural, in capitals, or with another letter or two.

    Example:
        >>> meant(["stimulus_ids", "comment"], ["stimulus_id", "category"])
        {'stimulus_ids': 'stimulus_id'}
    """
    plain = {re.sub("[^a-z0-9]", "", name.lower()): name for name in known}
    close = {}
    for name in names:
        singular = re.sub("s$", "", re.sub("ies$", "y", re.sub("[^a-z0-9]", "", str(name).lower())))
        for match in difflib.get_close_matches(singular, plain, n=1, cutoff=0.8):
            close[str(name)] = plain[match]
    return close


def first_ten(names: Iterable[str]) -> str:
    """The first ten names, and how many there are.

    Args:
        names: the names, at least one.

    Returns:
        A list for a message.

    Example:
        >>> first_ten(str(number) for number in range(12))
        "'0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ... (12 in all)"
        >>> first_ten(["hand"])
        "'hand'"
    """
    listed = [repr(name) for name in names]
    return ", ".join(listed[:10]) + (f", ... ({len(listed)} in all)" if len(listed) > 10 else "")


def check_distinct(names: Sequence[str], where: str) -> None:
    """Refuse empty and repeated names.

    Args:
        names: identifiers of images or names of neurons.
        where: what they are and what they are in, for the message.

    Raises:
        ValueError: if one is empty or occurs more than once; the first ten are listed.

    Example:
        >>> check_distinct(["hand", "cup", "hand"], "stimulus_ids")
        Traceback (most recent call last):
        ValueError: Expected distinct stimulus_ids, got more than once: 'hand'. Give each a name of its own.
    """
    if "" in names:
        raise ValueError(f"Expected {where} without gaps, got an empty one at position {list(names).index('')}.")
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise ValueError(
            f"Expected distinct {where}, got more than once: {first_ten(repeated)}. Give each a name of its own."
        )


def in_order(labels: Sequence[str]) -> list[str]:
    """The distinct labels in their order: by number where all of them are numbers, otherwise by alphabet.

    Args:
        labels: of phases or repetitions.

    Returns:
        Each label once.

    Example:
        >>> in_order(["10", "9", "10"]), in_order(["test", "10"])
        (['9', '10'], ['10', 'test'])
    """
    distinct = sorted(set(labels))
    try:
        return sorted(distinct, key=float)
    except ValueError:
        return distinct


def chosen_positions(choice: Choice | None, names: tuple[str, ...], axis: str) -> Int[ndarray, " kept"]:
    """The positions that a mask, positions or names choose.

    Args:
        choice: a mask with one value per name, or positions from 0, or names; None: all.
        names: what there is to choose from.
        axis: what the names are of, for the message.

    Returns:
        The positions, in the order asked for.

    Raises:
        TypeError: if the choice is none of these.
        ValueError: if one does not exist (the first ten are listed), or none is chosen.

    Example:
        >>> chosen_positions(["cup", "hand"], ("hand", "arm", "cup"), "image")
        array([2, 0])
        >>> chosen_positions([False, True, True], ("hand", "arm", "cup"), "image")
        array([1, 2])
    """
    if choice is None:
        return np.arange(len(names))
    chosen = np.asarray(choice)
    if isinstance(choice, str) or chosen.ndim != 1 or chosen.size == 0:
        raise ValueError(f"Expected a mask, positions or names that choose at least one {axis}, got {choice!r}.")
    if chosen.dtype == bool:
        if len(chosen) != len(names) or not chosen.any():
            raise ValueError(
                f"Expected a mask ({len(names)},), one value per {axis} and at least one of them true, got "
                f"{chosen.shape} with {chosen.sum()} true."
            )
        return np.flatnonzero(chosen)
    if chosen.dtype.kind not in "iuUO":
        raise TypeError(f"Expected a mask, positions or names of {axis}s, got values of the type {chosen.dtype}.")
    positions = range(len(names)) if chosen.dtype.kind in "iu" else names
    index = {name: position for position, name in enumerate(positions)}
    unknown = [name for name in chosen.tolist() if name not in index]
    if unknown:
        close = difflib.get_close_matches(str(unknown[0]), names, n=3)
        others = "" if chosen.dtype.kind in "iu" else f" There are {first_ten(names)}."
        remedy = f" Did you mean {', '.join(close)}?" if close else others
        raise ValueError(
            f"Expected {axis}s out of the {len(names)} of the recording, unknown: {first_ten(unknown)}.{remedy}"
        )
    return np.array([index[name] for name in chosen.tolist()], dtype=np.int64)


def _as_text(value: Any, where: str) -> str:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, list | tuple | dict | set | ndarray):
        raise ValueError(f"Expected {where} with one text or number in each entry, got {value!r}: write its text.")
    if value is None or value is pd.NA or value != value:
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"Expected {where} in UTF-8, got {value!r}: write them as UTF-8.") from error
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)
