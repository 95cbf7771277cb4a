"""The multi-unit activity of two macaques' V1, V4 and IT for the images of THINGS (TVSD), as it is published."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float64, Int
from numpy import ndarray

from captum_shared.recordings.formats.hdf5_checks import checked_dataset
from captum_shared.recordings.formats.identifiers import check_distinct, first_ten
from captum_shared.recordings.formats.image_files import all_files
from captum_shared.recordings.formats.named_arrays import last_axis
from captum_shared.recordings.missing import nanmean
from captum_shared.recordings.published import categories_in, file_in, read_hdf5_apart, require
from captum_shared.recordings.stored import Numbers, StoredRecording

Part = Literal["train", "test"]

_SOURCE: Final = "the THINGS ventral stream recording (https://gin.g-node.org/paolo_papale/TVSD)"
_KIND: Final = "MATLAB v7.3 file"
_CHANNELS: Final = 1024
_REGIONS: Final = {  # of the channels, in the order of the files
    "monkeyF": ("V1",) * 512 + ("IT",) * 320 + ("V4",) * 192,
    "monkeyN": ("V1",) * 512 + ("V4",) * 256 + ("IT",) * 256,
}


@dataclass(frozen=True, eq=False)
class _Monkey:
    """One of the animals: its file, the rows of its images in the common order, and its channels that are used."""

    name: str
    file: Path
    rows: Int[ndarray, " image"]
    channels: Int[ndarray, " channel"]
    reliability: Float64[ndarray, " channel"]


def things_ventral_stream(
    path: str | os.PathLike[str],
    *,
    part: Part = "train",
    subjects: Sequence[str] = ("monkeyF", "monkeyN"),
    regions: Sequence[str] = ("V1", "V4", "IT"),
    images: str | os.PathLike[str] | None = None,
    stimuli: str | os.PathLike[str] | None = None,
) -> StoredRecording:
    r"""Multi-unit activity of 1,024 channels in each of two macaques for 22,248 + 100 images of THINGS.

    The responses are those of ``THINGS_normMUA.mat``: averaged from 25 to 125 ms (V1), 50 to 150 ms (V4) or 75 to 175
    ms (IT) after the onset of the image, and, day by day, in standard deviations of the test images from their mean.
    The training images were shown once, the test images 30 times; the two parts, whose noise differs so much, are
    recordings of their own.

    The published reliability is that of one presentation: the correlation r of two repetitions of the test images,
    averaged over all pairs of repetitions (``reliab``). With part="test" it is that of the mean of n repetitions,
    :math:`n r / (1 + (n - 1) r)`, and there are :attr:`Recording.halves` of odd and even repetitions, too.

    Args:
        path: the folder with ``monkeyF/THINGS_normMUA.mat``, ``monkeyF/_logs/things_imgs.mat``, and the same of
            ``monkeyN``, as they are published.
        part: the training or the test images.
        subjects: one of the monkeys, or both.
        regions: the areas whose channels are used.
        images: the folder ``object_images`` of THINGS, with the images in folders by concept, which is published
            apart (https://osf.io/jum2f). Default: there are no ``paths``.
        stimuli: a table ``stimulus_id,category`` of the images. Default: the category is the concept, of which THINGS
            has 1,854.

    Returns:
        The recording, whose responses are read with ``select`` or ``blocks``. Images are called as in THINGS
        (``"aardvark/aardvark_01b.jpg"``), in the order of the first monkey; channels by monkey and number, from 1
        (``"monkeyF-0513"``).

    Raises:
        FileNotFoundError: if a file is missing, or some of the images.
        ImportError: if h5py is not installed; the extra that has it is named.
        ValueError: if a file is not the published one, a subject, region or part is unknown, or monkeys saw different
            images.

    Example:
        >>> things_ventral_stream("TVSD", regions=["IT"])
        Traceback (most recent call last):
        FileNotFoundError: Expected the file monkeyF/_logs/things_imgs.mat of the THINGS ventral stream recording
        (https://gin.g-node.org/paolo_papale/TVSD) in TVSD, got none: download it, in the folders as they are
        published, or correct the path.

    Papale, Wang, Self and Roelfsema (Neuron 2025). The layout is that of the published code that writes the file
    (``norm_MUA.m``) and of public code that reads it: datasets as h5py gives them, ``train_MUA`` (22248, 1024),
    ``test_MUA`` (100, 1024), ``test_MUA_reps`` (30, 100, 1024), ``reliab`` (435, 1024); in ``things_imgs.mat``,
    ``train_imgs`` and ``test_imgs`` with references to text in ``things_path``, concept and file. It was not compared
    with the files themselves. The areas are those of the published code: channels 1 to 512 are V1; of monkeyF, 513 to
    832 are IT and 833 to 1024 V4; of monkeyN, 513 to 768 are V4 and 769 to 1024 IT. That code puts areas and channels
    into this order with one and the same mapping, applied twice to the areas: they agree if it is its own inverse. This
    could not be verified; some public code takes other areas for monkeyF. An array of monkeyN is said to be empty:
    choose channels by their reliability.
    """
    require(["h5py"], "The THINGS ventral stream recording")
    _check_choice("part", [part], ("train", "test"))
    _check_choice("subjects", subjects, tuple(_REGIONS))
    _check_choice("regions", regions, ("V1", "V4", "IT"))
    folder = Path(path)
    shown = [_shown(folder, name, part) for name in subjects]
    identifiers = shown[0]
    monkeys = [
        _opened(folder, name, part, rows=_rows(identifiers, own, name), regions=regions)
        for name, own in zip(subjects, shown, strict=True)
    ]
    channels = [(monkey, channel) for monkey in monkeys for channel in monkey.channels]
    return StoredRecording(
        stimulus_ids=identifiers,
        categories=tuple(each.split("/")[0] for each in identifiers)
        if stimuli is None
        else categories_in(stimuli, identifiers),
        paths=None if images is None else all_files(identifiers, Path(images)),
        neuron_names=tuple(f"{monkey.name}-{channel + 1:04d}" for monkey, channel in channels),
        regions=tuple(_REGIONS[monkey.name][channel] for monkey, channel in channels),
        subjects=tuple(monkey.name for monkey, _ in channels),
        reliability=np.concatenate([monkey.reliability for monkey in monkeys]),
        read=partial(_read, monkeys, part),
    )


def _read(monkeys: Sequence[_Monkey], part: Part, positions: Int[ndarray, " chosen"]) -> Numbers:
    """Read some channels, whose positions go through the monkeys one after the other."""
    responses = np.empty((1, len(monkeys[0].rows), len(positions)))
    halves = np.empty((2, *responses.shape[1:])) if part == "test" else None
    start = 0
    for monkey in monkeys:
        own = (positions >= start) & (positions < start + len(monkey.channels))
        columns = monkey.channels[positions[own] - start]
        start += len(monkey.channels)
        if not len(columns):
            continue
        responses[0][:, own], repetitions = _responses(monkey, part, columns)
        if halves is not None:
            halves[..., own] = np.stack([nanmean(repetitions[first::2], axis=0) for first in (0, 1)])
    return responses, halves


def _responses(
    monkey: _Monkey, part: Part, columns: Int[ndarray, " chosen"]
) -> tuple[Float64[ndarray, "image chosen"], Float64[ndarray, "repetition image chosen"]]:
    """Mean responses, and, of the test images, those to every repetition."""
    names = ("train_MUA",) if part == "train" else ("test_MUA", "test_MUA_reps")
    mean, *repetitions = read_hdf5_apart(monkey.file, partial(_columns, names, columns), _KIND)
    return mean[monkey.rows], repetitions[0][:, monkey.rows] if repetitions else np.empty((0, *mean.shape))


def _columns(names: Sequence[str], columns: Int[ndarray, " chosen"], file: Any) -> list[Float64[ndarray, "..."]]:
    return [last_axis(checked_dataset(file, name), columns).astype(np.float64) for name in names]


def _opened(folder: Path, name: str, part: Part, *, rows: Int[ndarray, " image"], regions: Sequence[str]) -> _Monkey:
    """Check the file of a monkey, and read the reliability of the channels of some areas."""
    file = file_in(folder, f"{name}/THINGS_normMUA.mat", _SOURCE)
    pairs, n_repetitions = read_hdf5_apart(file, partial(_reliability, part, len(rows)), _KIND)
    channels = np.flatnonzero(np.isin(_REGIONS[name], regions))
    single = nanmean(pairs, axis=0)[channels]
    known = np.where(single > 0, n_repetitions * single / (1 + (n_repetitions - 1) * np.maximum(single, 0)), single)
    return _Monkey(name, file, rows, channels, np.minimum(known, 1.0))


def _reliability(part: Part, n_images: int, file: Any) -> tuple[Float64[ndarray, "pair channel"], int]:
    """The correlations of repetitions, and how many repetitions the responses are the mean of."""
    _check_shape(f"{part}_MUA", checked_dataset(file, f"{part}_MUA", whole=False).shape, (n_images, _CHANNELS))
    pairs = checked_dataset(file, "reliab")
    _check_shape("reliab", pairs.shape, (len(pairs), _CHANNELS))
    if part == "train":
        return pairs[()].astype(np.float64), 1
    repeated = checked_dataset(file, "test_MUA_reps", whole=False).shape
    _check_shape("test_MUA_reps", repeated, (repeated[0], n_images, _CHANNELS))
    return pairs[()].astype(np.float64), repeated[0]


def _check_shape(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if shape != expected:
        why = "it is transposed" if shape == expected[::-1] else "it is another file, or not of these images"
        raise ValueError(f"Expected {name!r} with the shape {expected} in HDF5, got {shape}: {why}.")


def _shown(folder: Path, name: str, part: Part) -> tuple[str, ...]:
    """The paths of the images in THINGS, in the order of the responses of a monkey."""
    file = file_in(folder, f"{name}/_logs/things_imgs.mat", _SOURCE)
    paths = read_hdf5_apart(file, partial(_texts, f"{part}_imgs/things_path"), _KIND)
    identifiers = tuple(each.replace("\\", "/") for each in paths)
    check_distinct(identifiers, f"things_path of {part}_imgs in {file}")
    return identifiers


def _texts(name: str, file: Any) -> list[str]:
    """A field of text of an array of MATLAB structures: references to text in UTF-16, one character a row."""
    import h5py

    references = checked_dataset(file, name)[()].ravel()
    if references.dtype.kind != "O":
        raise ValueError(f"Expected references to text in {name}, got {references.dtype}: it is another file.")
    texts = []
    for reference in references:
        cell = h5py.h5r.dereference(reference, file.id)  # ten times as fast as file[reference], for tens of thousands
        characters = np.empty(cell.shape, cell.dtype)
        cell.read(h5py.h5s.ALL, h5py.h5s.ALL, characters)
        empty = characters.dtype != np.uint16  # then it is the size of no text
        texts.append("" if empty else characters.ravel().astype("<u2").tobytes().decode("utf-16-le"))
    return texts


def _rows(common: tuple[str, ...], own: tuple[str, ...], name: str) -> Int[ndarray, " image"]:
    """Where the images of all monkeys are in the responses of one."""
    row = {identifier: index for index, identifier in enumerate(own)}
    different = sorted(set(common) ^ set(own))
    if different:
        raise ValueError(
            f"Expected the same images for all subjects, got others for {name}: {first_ten(different)}. Choose one "
            "subject."
        )
    return np.array([row[identifier] for identifier in common])


def _check_choice(what: str, chosen: Sequence[str], known: tuple[str, ...]) -> None:
    unknown = [each for each in chosen if each not in known]
    if isinstance(chosen, str) or unknown or not len(chosen) or len(set(chosen)) < len(chosen):
        raise ValueError(f"Expected {what} out of {', '.join(known)}, each once, in a list, got {chosen!r}.")
