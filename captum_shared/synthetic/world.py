"""The images and neurons of a simulated recording, and the file that holds the truth about them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from captum_shared.synthetic.neurons import SyntheticNeuron, category_selective_neurons
from captum_shared.synthetic.parts import PARTS
from captum_shared.synthetic.stimuli import Stimulus, draw_stimuli, visible_area

TRUTH = "truth.json"
"""The file of the truth, beside the recording."""

FRESH = 2_000_000
"""What is added to a seed, to draw other images than those that the embedded network was trained and judged on."""

_VERSION = 1  # of that file
_ADDED_BASELINES = {"posterior": 8.0, "anterior": 0.0}  # spikes/s
_TOLERANCE = 0.002  # of a visible area: 25 of 112 x 112 pixels, more than rounding moves on another machine


@dataclass(frozen=True)
class SimulatedWorld:
    """What a simulated recording is of.

    Attributes:
        stimuli: the drawn images with the masks of their parts, by identifier, in the order of ``stimuli.csv``.
        neurons: in the order of the recording, each with the parts that drive it.
        regions: one per neuron.
    """

    stimuli: dict[str, Stimulus]
    neurons: tuple[SyntheticNeuron, ...]
    regions: tuple[str, ...]

    @property
    def filenames(self) -> tuple[str, ...]:
        """The file of each image, relative to the folder of the recording."""
        return tuple(f"images/{identifier}.png" for identifier in self.stimuli)


def draw_world(n_neurons: int, n_images: Mapping[str, int], *, seed: int, progress: bool = False) -> SimulatedWorld:
    """Draw neurons and images.

    Args:
        n_neurons: at least 1.
        n_images: at least 1 of each category.
        seed: not negative.
        progress: whether to show progress bars.

    Returns:
        The neurons, in turn in two regions of which one has a higher baseline, and the images.

    Raises:
        ValueError: if a category is unknown or a number out of range.

    Example:
        >>> world = draw_world(2, {"creature": 1, "artefact": 1}, seed=0)
        >>> list(world.stimuli), world.regions
        (['creature_0000', 'artefact_0000'], ('posterior', 'anterior'))
    """
    regions = tuple(list(_ADDED_BASELINES)[index % len(_ADDED_BASELINES)] for index in range(n_neurons))
    neurons = tuple(
        replace(neuron, baseline=neuron.baseline + _ADDED_BASELINES[region])
        for neuron, region in zip(category_selective_neurons(n_neurons, seed=seed), regions, strict=True)
    )
    return SimulatedWorld(_drawn(n_images, seed, progress), neurons, regions)


def simulated_world(folder: str | Path, *, progress: bool = False) -> SimulatedWorld:
    """Images and neurons of a recording that :func:`~captum_shared.synthetic.simulate_recording` wrote.

    The neurons are read from ``truth.json``. The images are drawn again, as the masks of their parts are in no file:
    the same seed gives the same images.

    Args:
        folder: where the recording is.
        progress: whether to show progress bars.

    Returns:
        Images and neurons; an image file holds the pixels of its stimulus in 8 bits.

    Raises:
        FileNotFoundError: if there is no ``truth.json`` in the folder.
        ValueError: if that file is damaged or of another version, or other images are drawn than it tells of.

    Example:
        >>> import tempfile
        >>> from captum_shared.synthetic.recording import simulate_recording
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = simulate_recording(Path(folder, "new"), format="npz", n_neurons=2, n_creatures=1, n_artefacts=1)
        ...     world = simulated_world(path.parent)
        >>> sorted(world.neurons[0].tuning), sorted(world.stimuli["creature_0000"].masks)
        (['head', 'wing'], ['head', 'horn', 'limb', 'tail', 'torso', 'wing'])
    """
    path = Path(folder, TRUTH)
    if not path.is_file():
        raise FileNotFoundError(f"Expected the folder of a simulated recording, got {folder}, which has no {TRUTH}.")
    try:
        truth = json.loads(path.read_text(encoding="utf-8"))
        if truth["format_version"] != _VERSION:
            raise ValueError(f"version {truth['format_version']} of this file, not {_VERSION}")
        neurons = tuple(SyntheticNeuron(each["name"], each["tuning"], each["baseline"]) for each in truth["neurons"])
        world = SimulatedWorld(
            _drawn(truth["n_images"], truth["seed"], progress),
            neurons,
            tuple(each["region"] for each in truth["neurons"]),
        )
        _check_areas(truth["visible_area"], world)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"Expected the truth about a simulated recording in {path}, got: {error}. Simulate the recording again."
        ) from error
    return world


def truth_of(world: SimulatedWorld, *, seed: int) -> dict[str, Any]:
    """What :func:`simulated_world` reads, and the visible areas of all parts.

    Args:
        world: images and neurons.
        seed: that they were drawn from.

    Returns:
        The content of ``truth.json``.

    Example:
        >>> truth_of(draw_world(1, {"creature": 2, "artefact": 1}, seed=0), seed=0)["n_images"]
        {'creature': 2, 'artefact': 1}
    """
    neurons = [
        {**asdict(neuron), "region": region} for neuron, region in zip(world.neurons, world.regions, strict=True)
    ]
    return {
        "format_version": _VERSION,
        "seed": seed,
        "n_images": dict(Counter(stimulus.category for stimulus in world.stimuli.values())),
        "neurons": neurons,
        "visible_area": _visible_areas(world),
    }


def _drawn(n_images: Mapping[str, int], seed: int, progress: bool) -> dict[str, Stimulus]:
    return {
        f"{category}_{number:04d}": stimulus
        for category, n in n_images.items()
        for number, stimulus in enumerate(draw_stimuli(category, n, seed=FRESH + seed, progress=progress))
    }


def _visible_areas(world: SimulatedWorld) -> dict[str, dict[str, float]]:
    return {
        identifier: {part: visible_area(stimulus, part) for part in stimulus.masks}
        for identifier, stimulus in world.stimuli.items()
    }


def _check_areas(expected: Mapping[str, Mapping[str, float]], world: SimulatedWorld) -> None:
    drawn = _visible_areas(world)
    table, again = (
        np.array([[areas.get(part, 0.0) for part in PARTS] for areas in each.values()]) for each in (expected, drawn)
    )
    if [*expected] != [*drawn] or np.abs(table - again).max() > _TOLERANCE:
        raise ValueError("visible areas of other images than are drawn today")
