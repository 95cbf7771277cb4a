"""The prepared betas of the Natural Scenes Dataset, as they are published."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import scipy.io
from jaxtyping import Float64, Int, Int16, UInt8
from numpy import ndarray
from PIL import Image

from captum_shared._files import sweep, write_atomically
from captum_shared._progress import Progress
from captum_shared._reading import opened
from captum_shared.recordings.formats.hdf5_checks import checked_dataset
from captum_shared.recordings.formats.presentations import Presentations
from captum_shared.recordings.published import categories_in, file_in, read_hdf5_apart, require
from captum_shared.recordings.stored import Numbers, StoredRecording

_SOURCE: Final = "the Natural Scenes Dataset (https://naturalscenesdataset.org)"
_DESIGN: Final = "nsddata/experiments/nsd/nsd_expdesign.mat"
_STIMULI: Final = "nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5"
_SUBJECTS: Final = range(1, 9)
_TRIALS: Final = 750  # of a session
_PER_PERCENT: Final = 300.0  # what the integers of a file count
_AT_ONCE: Final = 32  # images


@dataclass(frozen=True, eq=False)
class _Voxels:
    """Where voxels lie in a volume (x, y, z), and their labels in an atlas."""

    coordinates: Int[ndarray, "voxel 3"]
    labels: Int[ndarray, " voxel"]


def natural_scenes(
    path: str | os.PathLike[str],
    subject: int,
    *,
    atlas: str = "nsdgeneral",
    preparation: str = "func1pt8mm/betas_fithrf_GLMdenoise_RR",
    images: str | os.PathLike[str] | None = None,
    stimuli: str | os.PathLike[str] | None = None,
) -> StoredRecording:
    r"""Responses of a person's voxels to up to 10,000 photographs, shown up to three times, from 7 T fMRI.

    The "neurons" are voxels of one subject. The betas of all sessions that are there are divided by 300, which makes
    them percent of signal change, and standardised voxel by voxel in every session (mean 0, standard deviation 1), as
    sessions differ; then they are averaged over the presentations of an image. :attr:`Recording.halves` are the means
    of the first and third, and the second presentation.

    The reliability is the noise ceiling as it is documented, from the published signal-to-noise ratio of a voxel,
    ``ncsnr``, which is of standardised betas, too:

    .. math:: r = \frac{\text{ncsnr}^2}{\text{ncsnr}^2 + \operatorname{mean}_i(1 / n_i)}

    with :math:`n_i` how often image i was presented in these sessions.

    Args:
        path: the folder of the dataset, with ``nsddata``, ``nsddata_betas`` and ``nsddata_stimuli`` as they are
            published; what is needed is ``betas_session01.hdf5``, ... and ``ncsnr.nii.gz`` of the preparation,
            ``nsddata/experiments/nsd/nsd_expdesign.mat`` and the atlas.
        subject: its number, from 1 to 8.
        atlas: a file of regions of the subject, in ``nsddata/ppdata/subj01/func1pt8mm/roi``: ``"nsdgeneral"``,
            ``"prf-visualrois"``, ``"streams"``, ``"floc-bodies"``, ... All voxels with a label above 0 are used; the
            regions are called as in ``nsddata/freesurfer/subj01/label/*.mgz.ctab``, or by atlas and label where that
            table is not there.
        preparation: the space and the version of the betas.
        images: a folder for the images as PNG files; those that are not there are written first, from
            ``nsddata_stimuli/stimuli/nsd/nsd_stimuli.hdf5``, one after the other, and never again. Default: there are
            no ``paths``.
        stimuli: a table ``stimulus_id,category`` of the images. Default: categories are unknown, as the dataset has
            none of whole images.

    Returns:
        The recording, whose responses are read with ``select`` or ``blocks``: only the voxels asked for are read.
        Images are called by their number among the 73,000, from 0 (``"nsd-02950"``), in the order of their first
        presentation; voxels by where they lie in the volume, from 0 (``"x12-y40-z31"``); the subject ``"subj01"``.

    Raises:
        FileNotFoundError: if a file is missing.
        ImportError: if h5py or nibabel is not installed; the extra that has them is named.
        ValueError: if a file is not the published one, a session between others is missing, or there is no such
            subject.

    Example:
        >>> natural_scenes("nsd", 1)
        Traceback (most recent call last):
        FileNotFoundError: Expected the file
        nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf_GLMdenoise_RR/betas_session01.hdf5 of the Natural Scenes
        Dataset (https://naturalscenesdataset.org) in nsd, got none: download it, in the folders as they are published,
        or correct the path.

    Allen et al. (Nature Neuroscience 2022). The layout is that of the NSD Data Manual (https://cvnlab.slite.page, pages
    "Functional data (NSD)", "Experiments" and "ROIs") and of public code that reads it: ``betas`` are X x Y x Z x 750
    integers of 16 bits in MATLAB's order, which h5py gives as (750, Z, Y, X), in parts of one voxel; volumes in NIfTI
    are (X, Y, Z); the image of trial t is ``subjectim[subject, masterordering[t]]``, all counted from 1; images are
    ``imgBrick`` (73000, 425, 425, 3). It was not compared with the files themselves. That ``ncsnr`` is of betas
    standardised within sessions is said by public code that reproduces it, not by the pages that were at hand.
    """
    require(["h5py", "nibabel"], "The Natural Scenes Dataset")
    if subject not in _SUBJECTS:
        raise ValueError(f"Expected a subject from 1 to 8, got {subject}.")
    folder, name = Path(path), f"subj{subject:02d}"
    betas = f"nsddata_betas/ppdata/{name}/{preparation}"
    space = preparation.split("/")[0]
    sessions = _sessions(folder, betas)
    shown = _shown(folder, subject, _TRIALS * len(sessions))
    regions = _volume(folder, f"nsddata/ppdata/{name}/{space}/roi/{atlas}.nii.gz")
    ratio = _volume(folder, f"{betas}/ncsnr.nii.gz")
    for session in sessions:
        read_hdf5_apart(session, partial(_check_session, regions.shape))
    if ratio.shape != regions.shape:
        raise ValueError(f"Expected ncsnr with the shape {regions.shape} of the atlas, got {ratio.shape}: other space?")
    voxels = _labelled(regions, atlas)
    times = np.unique(shown, return_counts=True)[1]
    ordered = tuple(dict.fromkeys(_identifier(number) for number in shown.tolist()))
    names = _label_names(folder / f"nsddata/freesurfer/{name}/label/{atlas}.mgz.ctab", atlas)
    return StoredRecording(
        stimulus_ids=ordered,
        categories=("",) * len(ordered) if stimuli is None else categories_in(stimuli, ordered),
        paths=None if images is None else _written(folder, shown, Path(images)),
        neuron_names=tuple(f"x{x}-y{y}-z{z}" for x, y, z in voxels.coordinates),
        regions=tuple(names.get(label, f"{atlas} {label}") for label in voxels.labels),
        subjects=(name,) * len(voxels.labels),
        reliability=_ceiling(ratio[tuple(voxels.coordinates.T)], times),
        read=partial(_read, sessions, shown, voxels.coordinates),
    )


def _sessions(folder: Path, betas: str) -> list[Path]:
    """The files of the sessions that are there, from the first to the last, none between them missing."""
    first = file_in(folder, f"{betas}/betas_session01.hdf5", _SOURCE)
    n_sessions = max(int(file.stem[-2:]) for file in first.parent.glob("betas_session[0-9][0-9].hdf5"))
    return [file_in(folder, f"{betas}/betas_session{n:02d}.hdf5", _SOURCE) for n in range(1, n_sessions + 1)]


def _shown(folder: Path, subject: int, n_trials: int) -> Int[ndarray, " trial"]:
    """The image of every trial, among the 73,000, from 0."""
    file = file_in(folder, _DESIGN, _SOURCE)
    with opened(file, "MATLAB file"):
        design = scipy.io.loadmat(file, variable_names=["masterordering", "subjectim"])
        order, images = design["masterordering"].ravel().astype(int), design["subjectim"].astype(int)
        if len(images) != len(_SUBJECTS) or len(order) < n_trials or order.max() > images.shape[1] or order.min() < 1:
            raise ValueError(
                f"Expected subjectim of 8 subjects and masterordering of {n_trials:,} trials or more, got "
                f"{images.shape} and {len(order):,} up to {order.max():,}: it is another file, or of fewer sessions."
            )
    shown: ndarray = images[subject - 1, order[:n_trials] - 1] - 1
    return shown


def _volume(folder: Path, name: str) -> Float64[ndarray, "x y z"]:
    """A volume in NIfTI."""
    import nibabel

    file = file_in(folder, name, _SOURCE)
    with opened(file, "NIfTI file"):
        volume = np.asarray(nibabel.load(file).dataobj, dtype=np.float64)  # type: ignore[attr-defined]
        if volume.ndim != 3:
            raise ValueError(f"Expected a volume of three axes, got {volume.shape}: it is another file.")
    return volume


def _labelled(regions: Float64[ndarray, "x y z"], atlas: str) -> _Voxels:
    """The voxels of an atlas, in the order in which they lie in a file of betas."""
    coordinates = np.argwhere(regions.T > 0)[:, ::-1]
    if not len(coordinates):
        raise ValueError(f"Expected labels above 0 in the atlas {atlas}, got none: choose another.")
    return _Voxels(coordinates, regions[tuple(coordinates.T)].astype(int))


def _label_names(table: Path, atlas: str) -> dict[int, str]:
    """The names of the labels of an atlas, where their table is there: a number and a name a line."""
    if not table.is_file():
        return {1: atlas} if atlas == "nsdgeneral" else {}
    with opened(table, "table of labels"):
        rows = [line.split(maxsplit=1) for line in table.read_text(encoding="utf-8").splitlines() if line.strip()]
        return {int(label): name.strip() for label, name in rows}


def _ceiling(ratio: Float64[ndarray, " voxel"], times: Int[ndarray, " image"]) -> Float64[ndarray, " voxel"]:
    ceiling: ndarray = ratio**2 / (ratio**2 + (1 / times).mean())
    return ceiling


def _check_session(shape: tuple[int, ...], file: Any) -> None:
    betas = checked_dataset(file, "betas", whole=False)
    expected = (_TRIALS, *shape[::-1])
    if betas.shape != expected or betas.dtype.kind != "i":
        why = "it is transposed" if betas.shape == expected[::-1] else "another session, space or subject?"
        raise ValueError(
            f"Expected betas with the shape {expected} (trial, z, y, x) of integers, got {betas.shape} of "
            f"{betas.dtype}: {why}"
        )


def _read(
    sessions: Sequence[Path],
    shown: Int[ndarray, " trial"],
    coordinates: Int[ndarray, "voxel 3"],
    positions: Int[ndarray, " chosen"],
) -> Numbers:
    """Read some voxels, and average their presentations."""
    read = partial(_betas, coordinates[positions])
    contents = Presentations(
        responses=np.concatenate([_standardised(read_hdf5_apart(session, read)) for session in sessions]),
        stimulus_ids=tuple(_identifier(number) for number in shown.tolist()),
        neuron_names=tuple(map(str, positions)),
        regions=("",) * len(positions),
        subjects=("",) * len(positions),
    ).averaged()
    return contents.responses, contents.halves


def _betas(coordinates: Int[ndarray, "chosen 3"], file: Any) -> Int16[ndarray, "trial chosen"]:
    """All trials of some voxels: row by row, as far as they lie in it."""
    dataset = checked_dataset(file, "betas", whole=False)
    betas = np.empty((len(dataset), len(coordinates)), dtype=np.int16)
    rows, row = np.unique(coordinates[:, 1:], axis=0, return_inverse=True)
    members = np.split(np.argsort(row.ravel(), kind="stable"), np.cumsum(np.bincount(row.ravel()))[:-1])
    for (y, z), own in zip(rows, members, strict=True):
        xs = coordinates[own, 0]
        first = xs.min()
        betas[:, own] = dataset[:, z, y, first : xs.max() + 1][:, xs - first]
    return betas


def _standardised(betas: Int16[ndarray, "trial chosen"]) -> Float64[ndarray, "trial chosen"]:
    """Of one session; NaN where a voxel is the same in all trials, as those outside of the brain are."""
    percent = betas / _PER_PERCENT
    deviation = percent.std(axis=0, ddof=1)
    standardised: ndarray = (percent - percent.mean(axis=0)) / np.where(deviation > 0, deviation, np.nan)
    return standardised


def _identifier(number: int) -> str:
    return f"nsd-{number:05d}"


def _written(folder: Path, shown: Int[ndarray, " trial"], images: Path) -> tuple[Path, ...]:
    """The files of the images, in the order of their first presentation; those that are not there are written."""
    numbers = list(dict.fromkeys(shown.tolist()))
    files = {number: images / f"{_identifier(number)}.png" for number in numbers}
    missing = sorted(number for number in numbers if not files[number].is_file())
    if missing:
        stored = file_in(folder, _STIMULI, _SOURCE)
        images.mkdir(parents=True, exist_ok=True)
        sweep(images)
        for first in Progress(range(0, len(missing), _AT_ONCE), desc="writing images", unit="block", disable=None):
            some = missing[first : first + _AT_ONCE]
            for number, pixels in zip(some, read_hdf5_apart(stored, partial(_pixels, some)), strict=True):
                with write_atomically(files[number]) as temporary:
                    Image.fromarray(pixels).save(temporary)
    return tuple(files.values())


def _pixels(numbers: Sequence[int], file: Any) -> list[UInt8[ndarray, "height width 3"]]:
    stored = checked_dataset(file, "imgBrick", whole=False)
    if stored.ndim != 4 or stored.shape[3] != 3 or stored.dtype != np.uint8 or len(stored) <= max(numbers):
        raise ValueError(
            f"Expected imgBrick with the shape (73000, 425, 425, 3) of bytes, got {stored.shape} of {stored.dtype}: it "
            "is another file."
        )
    return [stored[number] for number in numbers]
