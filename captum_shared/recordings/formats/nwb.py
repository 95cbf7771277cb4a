"""Neurodata Without Borders: spikes of units, counted after the onset of every image."""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64
from numpy import ndarray

from captum_shared.recordings.formats.contents import WINDOW, Contents, Window
from captum_shared.recordings.formats.identifiers import as_text
from captum_shared.recordings.formats.presentations import Presentations
from captum_shared.recordings.formats.spikes import Spikes
from captum_shared.recordings.formats.units import check_intervals, check_spike_times, ragged_column

_IDENTITY = ("stimulus_id", "image_id", "image_name", "frame", "stimulus_name")
_OPTIONAL = {"phase": "phases", "repetition": "repetitions", "category": "categories", "filename": "filenames"}
_NAME = ("neuroid_id", "unit_name")
_REGION = ("region", "location", "brain_area")


@dataclass(frozen=True, eq=False)
class _Units:
    names: tuple[str, ...]
    regions: tuple[str, ...]
    spike_times: list[Float64[ndarray, " _"]]
    observed: list[Float64[ndarray, "_ edge"]] | None


def read_nwb(path: Path, window: Window = WINDOW) -> Contents:
    r"""Count the spikes of every unit in a window after the onset of every image.

    .. math:: y = \frac{|\{t : t_\mathrm{onset} + a \le t < t_\mathrm{onset} + b\}|}{b - a}

    The images are those of the table ``trials`` or, where that does not say which image was shown, of the one other
    table of intervals or stimuli that does, in the first of the columns ``stimulus_id, image_id, image_name, frame,
    stimulus_name`` there is; rows in which it is empty are no presentations of an image. Onsets are in ``start_time``;
    ``phase, repetition, category, filename`` are used where they are there. A unit's name is in the column
    ``neuroid_id`` or ``unit_name``, otherwise it is its id; its region in ``region``, ``location`` or ``brain_area``,
    otherwise it is the location of its electrode group or first electrode. Where its ``obs_intervals`` do not contain
    the window, its response is missing.

    Args:
        path: the file.
        window: :math:`(a, b)`, seconds after the onset.

    Returns:
        Spikes per second, averaged over repetitions.

    Raises:
        ImportError: without pynwb.
        ValueError: if the window is empty, the file is damaged or has no spike times, its spike times do not ascend or
            do not fit their index, or no table, or more than one, says which image was shown.
    """
    if len(window) != 2 or not (np.isfinite(window).all() and window[0] < window[1]):
        raise ValueError(f"Expected a window (start, stop) in seconds after the onset, start < stop, got {window}.")
    import pynwb

    with pynwb.NWBHDF5IO(path, mode="r") as file:
        nwb = file.read()
        tables = {"trials": nwb.trials, **dict(nwb.intervals.items()), **dict(nwb.stimulus.items())}
        columns = {name: _columns(table) for name, table in tables.items() if "start_time" in _names(table)}
        units = _units(nwb.units) if "spike_times" in _names(nwb.units) else None
        subject = (nwb.subject.subject_id if nwb.subject else None) or ""
    presentations = _presented(columns, path)
    onsets = presentations["start_time"].to_numpy(np.float64)
    if np.isinf(onsets).any():
        raise ValueError(f"Expected finite start_time of presentations in {path}, got infinity: correct the table.")
    if units is None:
        raise ValueError(f"Expected units with spike_times in {path}, got none: add the sorted spikes to the file.")
    labels = {name: tuple(presentations[column]) for column, name in _OPTIONAL.items() if column in presentations}
    return Presentations(
        responses=_rates(units, onsets, window),
        stimulus_ids=tuple(presentations["stimulus_id"]),
        neuron_names=units.names,
        regions=units.regions,
        subjects=(subject,) * len(units.names),
        **labels,
    ).averaged()


def write_nwb(path: Path, spikes: Spikes) -> None:
    """Write spikes and presentations, so that :func:`read_nwb` can count.

    Args:
        path: the file.
        spikes: of the units; the presentations become the table of trials.

    Raises:
        ImportError: without pynwb.

    Example:
        >>> import tempfile
        >>> shown = pd.DataFrame({"start_time": [0.0, 1.0], "stop_time": [0.5, 1.5], "stimulus_id": ["hand", "cup"]})
        >>> spikes = Spikes([np.array([0.1, 0.2, 0.3, 1.06])], shown, ["A"], ["MSB"], "M1")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_nwb(Path(folder, "a.nwb"), spikes)
        ...     read_nwb(Path(folder, "a.nwb"), (0.05, 0.25)).responses
        array([[[10.],
                [ 5.]]])
    """
    import pynwb

    vector, times, shown = pynwb.core.VectorData, np.concatenate(spikes.times), spikes.presentations
    nwb = pynwb.NWBFile(
        session_description="responses to images",
        identifier=hashlib.sha256(times.tobytes()).hexdigest(),
        session_start_time=datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc),
        subject=pynwb.file.Subject(subject_id=spikes.subject),
    )
    nwb.trials = pynwb.epoch.TimeIntervals(
        name="trials",
        description="presentations of images",
        id=list(range(len(shown))),
        columns=[vector(name=name, description=name, data=shown[name].to_list()) for name in shown],
    )
    data = vector(name="spike_times", description="in seconds", data=times)
    ends = pynwb.core.VectorIndex(name="spike_times_index", data=np.cumsum([*map(len, spikes.times)]), target=data)
    names = vector(name="neuroid_id", description="name of the unit", data=list(spikes.neuron_names))
    areas = vector(name="region", description="region of the unit", data=list(spikes.regions))
    ids, columns = list(range(len(spikes.times))), [data, ends, names, areas]
    nwb.units = pynwb.misc.Units(name="units", description="sorted spikes", id=ids, columns=columns)
    with pynwb.NWBHDF5IO(path, mode="w") as file:
        file.write(nwb)


def _names(table: Any) -> tuple[str, ...]:
    """The columns of a table; none where it is no table."""
    return tuple(getattr(table, "colnames", ()))


def _columns(table: Any) -> pd.DataFrame:
    """Onsets and the columns of interest, as text."""
    known = [name for name in (*_IDENTITY, *_OPTIONAL) if name in _names(table)]
    return pd.DataFrame(
        {"start_time": table["start_time"][:], **{name: as_text(table[name][:], name) for name in known}}
    )


def _presented(tables: dict[str, pd.DataFrame], path: Path) -> pd.DataFrame:
    """The one table that says which image was shown, with that column as stimulus_id."""
    identity = {name: [column for column in _IDENTITY if column in table] for name, table in tables.items()}
    telling = [name for name, columns in identity.items() if columns]
    if "trials" in telling:
        telling = ["trials"]
    if len(telling) != 1:
        raise ValueError(
            f"Expected one table of presentations in {path}, trials or intervals with a column "
            f"{' or '.join(_IDENTITY)}, got {', '.join(telling) or 'none'} among {', '.join(tables) or 'no tables'}: "
            "add the identifier of the image to the trials (add_trial_column), or write the rates to a CSV file."
        )
    table = tables[telling[0]]
    identifiers = table[identity[telling[0]][0]]
    return table.assign(stimulus_id=identifiers)[identifiers != ""]


def _units(units: Any) -> _Units:
    columns = _names(units)
    name = next((column for column in _NAME if column in columns), "id")
    names = as_text(units[name][:], name)
    spike_times = ragged_column(units["spike_times"], len(names))
    check_spike_times(spike_times, names)
    observed = ragged_column(units["obs_intervals"], len(names)) if "obs_intervals" in columns else None
    check_intervals(observed or [], names)
    regions = _regions(units, columns, len(names))
    if len(regions) != len(names):
        raise ValueError(f"Expected one region for each of the {len(names)} units, got {len(regions)}.")
    return _Units(names=names, regions=regions, spike_times=spike_times, observed=observed)


def _regions(units: Any, columns: tuple[str, ...], n_units: int) -> tuple[str, ...]:
    for column in _REGION:
        if column in columns:
            return as_text(units[column][:], column)
    if "electrode_group" in columns:
        return tuple(group.location for group in units["electrode_group"][:])
    if "electrodes" not in columns:
        return ("",) * n_units
    location = as_text(units["electrodes"].target.table["location"][:], "location of the electrodes")
    electrodes = ragged_column(units["electrodes"], n_units)
    if any(((rows < 0) | (rows >= len(location))).any() for rows in electrodes):
        raise ValueError(f"Expected electrodes of units among the {len(location)} there are, got others.")
    return tuple(location[rows[0]] if len(rows) else "" for rows in electrodes)


def _rates(
    units: _Units, onsets: Float64[ndarray, " presentation"], window: Window
) -> Float64[ndarray, "presentation neuron"]:
    starts, stops = onsets + window[0], onsets + window[1]
    rates = np.empty((len(onsets), len(units.names)))
    for unit, spike_times in enumerate(units.spike_times):
        before_start, before_stop = np.searchsorted(spike_times, [starts, stops])
        rates[:, unit] = (before_stop - before_start) / (window[1] - window[0])
        if units.observed is not None:
            begin, end = units.observed[unit].reshape(-1, 2).T
            observed = (begin <= starts[:, None]) & (stops[:, None] <= end)
            rates[~observed.any(axis=1), unit] = np.nan
    rates[np.isnan(onsets)] = np.nan
    return rates
