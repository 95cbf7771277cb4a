"""A simulated recording on disk: images, responses in any format, and the truth about both."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64, Int
from numpy import ndarray
from PIL import Image

from captum_shared._files import check_place
from captum_shared._occupied import occupied
from captum_shared._progress import Progress
from captum_shared._resuming import digest
from captum_shared.recordings.formats.contents import WINDOW
from captum_shared.recordings.formats.presentations import Presentations
from captum_shared.recordings.formats.spikes import Spikes
from captum_shared.recordings.formats.stimulus_table import StimulusTable
from captum_shared.recordings.formats.table import WRITTEN, format_of, write_contents, write_spikes
from captum_shared.synthetic.world import FRESH, TRUTH, SimulatedWorld, draw_world, truth_of

RECORDING_FORMATS = WRITTEN
"""The formats that a recording can be simulated in, by their extensions."""

_DURATION = WINDOW[1] - WINDOW[0]
_PHASES, _REPETITIONS = 2, 4
_PERIOD, _SHOWN = 0.5, 0.3  # seconds from onset to onset, and from onset to offset
_MARGIN = 0.001  # seconds between a spike and the edges of the window, so that rounding moves none across
_SUBJECT = "simulated"


def simulate_recording(
    output: str | Path,
    *,
    format: str = "nc",
    n_neurons: int = 96,
    n_creatures: int = 400,
    n_artefacts: int = 400,
    seed: int = 0,
    progress: bool = False,
) -> Path:
    """Record simulated neurons in the drawn world, and write all that a study of them needs.

    The neurons are those of :func:`~captum_shared.synthetic.category_selective_neurons`, in turn in the region
    "posterior", where 8 spikes/s are added to their baseline, and noise with them, and "anterior". In each of two
    phases every image is presented four times, in random order. A presentation evokes a Poisson number of spikes
    between 50 and 250 ms after the onset; between these windows the neurons fire at their baseline.

    Writes ``images/*.png``, ``stimuli.csv`` (``stimulus_id,filename,category``), ``recording.*`` and ``truth.json``:
    the tuning and baseline of each neuron, and the fraction of each image on which each of its parts is visible;
    :func:`~captum_shared.synthetic.simulated_world` gives these neurons and images back, with the masks of the parts.
    All formats hold the same responses to the last bit, in spikes/s; formats of spikes hold those to count them from.

    Args:
        output: folder to write to, new or empty.
        format: extension of the recording, one of ``RECORDING_FORMATS``.
        n_neurons: at least 1.
        n_creatures: images of the preferred category, at least 1.
        n_artefacts: other images, at least 1.
        seed: of images, neurons and spikes, not negative.
        progress: whether to show progress bars.

    Returns:
        The file of the recording.

    Raises:
        FileExistsError: if ``output`` is a file, or a folder that is not empty; nothing is overwritten.
        ImportError: without the packages of the format; the extra is named.
        ValueError: if the format is unknown, or a number out of range.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = simulate_recording(Path(folder, "new"), format="npz", n_neurons=2, n_creatures=2, n_artefacts=1)
        ...     path.name, sorted(file.name for file in path.parent.iterdir())
        ('recording.npz', ['images', 'recording.npz', 'stimuli.csv', 'truth.json'])
    """
    output = Path(output)
    if format not in RECORDING_FORMATS:
        raise ValueError(f"Expected one of the formats {', '.join(RECORDING_FORMATS)}, got {format!r}.")
    if output.exists() and not (output.is_dir() and next(output.iterdir(), None) is None):
        raise FileExistsError(f"Expected a new or empty folder, got {output}, which is neither: choose another.")
    check_place(output)
    world = draw_world(n_neurons, {"creature": n_creatures, "artefact": n_artefacts}, seed=seed, progress=progress)
    with _scratch_beside(output) as folder:
        _write_stimuli(world, folder, progress)
        _write_responses(world, folder / f"recording.{format}", np.random.default_rng([seed, FRESH]))
        (folder / TRUTH).write_text(json.dumps(truth_of(world, seed=seed), indent=1) + "\n", encoding="utf-8")
        if output.exists():
            output.rmdir()  # fails if something was put there meanwhile
        folder.rename(output)
    return output / f"recording.{format}"


@contextmanager
def _scratch_beside(output: Path) -> Iterator[Path]:
    """A folder to write to first; what a run to the same output that was killed has left in it goes."""
    scratch = output.absolute().parent / f".captum-shared-{digest([os.fsencode(output.name)])[:12]}"
    with occupied(scratch):
        folder = scratch / "recording"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            yield folder
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _write_stimuli(world: SimulatedWorld, folder: Path, progress: bool) -> None:
    (folder / "images").mkdir(parents=True)
    shown = Progress(world.filenames, desc="writing images", unit="image", disable=not progress)
    for filename, stimulus in zip(shown, world.stimuli.values(), strict=True):
        pixels = (255 * stimulus.image).round().byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / filename)
    categories = tuple(stimulus.category for stimulus in world.stimuli.values())
    StimulusTable(folder / "stimuli.csv", tuple(world.stimuli), world.filenames, categories).write()


def _write_responses(world: SimulatedWorld, path: Path, rng: np.random.Generator) -> None:
    """Write spikes where the format has them, otherwise the means of their counts, computed as they are on reading."""
    presentations, shown = _presented(world, rng)
    rates = np.stack([neuron.rate([*world.stimuli.values()]) for neuron in world.neurons], axis=1)
    counts = rng.poisson(rates[shown] * _DURATION)
    names = tuple(neuron.name for neuron in world.neurons)
    if format_of(path).write_spikes:
        onsets = presentations["start_time"].to_numpy()
        times = [
            _spike_times(onsets, own, baseline=neuron.baseline, rng=rng)
            for own, neuron in zip(counts.T, world.neurons, strict=True)
        ]
        write_spikes(path, Spikes(times, presentations, names, world.regions, _SUBJECT))
    else:
        means = Presentations(
            counts / _DURATION,
            stimulus_ids=tuple(presentations["stimulus_id"]),
            neuron_names=names,
            regions=world.regions,
            subjects=(_SUBJECT,) * len(names),
            phases=tuple(presentations["phase"]),
            repetitions=tuple(presentations["repetition"]),
            categories=tuple(presentations["category"]),
            filenames=tuple(presentations["filename"]),
        )
        write_contents(path, means.averaged())


def _presented(world: SimulatedWorld, rng: np.random.Generator) -> tuple[pd.DataFrame, Int[ndarray, " presentation"]]:
    """One row per presentation, in each repetition one of every image in random order; and its image's position."""
    identifiers, stimuli, filenames = [*world.stimuli], [*world.stimuli.values()], world.filenames
    n_images = len(stimuli)
    shown = np.concatenate([rng.permutation(n_images) for _ in range(_PHASES * _REPETITIONS)])
    phase, repetition = np.divmod(np.arange(len(shown)) // n_images, _REPETITIONS)
    onsets = _PERIOD * np.arange(1, len(shown) + 1)
    columns = {
        "start_time": onsets,
        "stop_time": onsets + _SHOWN,
        "stimulus_id": [identifiers[image] for image in shown],
        "phase": [str(1 + number) for number in phase],
        "repetition": [str(1 + number) for number in repetition],
        "category": [stimuli[image].category for image in shown],
        "filename": [filenames[image] for image in shown],
    }
    return pd.DataFrame(columns), shown


def _spike_times(
    onsets: Float64[ndarray, " presentation"],
    counts: Int[ndarray, " presentation"],
    *,
    baseline: float,
    rng: np.random.Generator,
) -> Float64[ndarray, " spike"]:
    """Times of the counted spikes of one neuron within the windows, and of others between them."""
    between = WINDOW[1], WINDOW[0] + _PERIOD
    others = rng.poisson(baseline * (between[1] - between[0]), len(onsets))
    times = [
        np.repeat(onsets, number) + rng.uniform(start + _MARGIN, stop - _MARGIN, number.sum())
        for number, (start, stop) in ((counts, WINDOW), (others, between))
    ]
    return np.sort(np.concatenate(times))
