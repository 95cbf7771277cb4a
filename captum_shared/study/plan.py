"""What a study would do and cost, told before it starts: by what the study itself does, on a few images."""

from __future__ import annotations

import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar, final

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from captum_shared.encoders.extraction import image_blocks
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.layers import LayerFeatures
from captum_shared.methods.registry import methods_by_name
from captum_shared.neurons.noise import exclusions
from captum_shared.recordings.recording import Recording
from captum_shared.study.experiment import Experiment
from captum_shared.study.folder import packed
from captum_shared.study.readouts import preferred_readout
from captum_shared.study.settings import StudySettings

if sys.platform != "win32":
    import resource

Result = TypeVar("Result")

_IMAGES: Final = 4
_PAIRS: Final = 2
_FITTED: Final = 400  # images
_FOLDS: Final = 2


@final
@dataclass(frozen=True)
class StudyPlan:
    """What a study would do.

    Attributes:
        images: number of images by category, the preferred one first.
        neurons: number of neurons by subject and region.
        excluded: why a neuron cannot take part, by its name.
        reliability: how the reliability of the responses is known, or why it is not.
        n_neurons: number of neurons that can take part.
        n_pairs: number of pairs that are explained, at most.
        passes: of all of these pairs through the network by method, forward and backward; None where unknown.
    """

    images: Mapping[str, int]
    neurons: Mapping[tuple[str, str], int]
    excluded: Mapping[str, str]
    reliability: str
    n_neurons: int
    n_pairs: int
    passes: Mapping[str, tuple[int, int] | None]


@final
@dataclass(frozen=True)
class StudyCost:
    """What a study would cost with one network, in this process: an estimate from a few images.

    Attributes:
        seconds: of time, by what it is for.
        memory: bytes of the process, at most.
        disk: bytes of the finished study, without figures.
    """

    seconds: Mapping[str, float]
    memory: float
    disk: float


def plan_study(recording: Recording, settings: StudySettings) -> StudyPlan:
    """Tell what a study would do.

    Args:
        recording: responses and image files.
        settings: what is asked for.

    Returns:
        The plan.

    Example:
        >>> rates = np.random.default_rng(0).random((2, 12, 2)) * [1, 0]
        >>> names, kinds = tuple("abcdefghijkl"), ("body",) * 9 + ("object",) * 3
        >>> plan = plan_study(Recording(rates, names, kinds, ("A", "B"), ("IT", "IT"), ("", "")), StudySettings("body"))
        >>> plan.images, plan.excluded, plan.n_pairs
        ({'body': 9, 'object': 3}, {'B': 'silent'}, 3)
    """
    inside = recording.in_category(settings.preferred)
    mean = recording.mean
    told = [
        first or second for first, second in zip(*(exclusions(mean[own]) for own in (inside, ~inside)), strict=True)
    ]
    excluded = {name: reason for name, reason in zip(recording.neuron_names, told, strict=True) if reason}
    n_neurons = recording.n_neurons - len(excluded)
    n_pairs = n_neurons * min(settings.n_pairs, int((~inside).sum()))
    images = Counter(recording.categories)
    return StudyPlan(
        {settings.preferred: images.pop(settings.preferred), **images},
        Counter(zip(recording.subjects, recording.regions, strict=True)),
        excluded,
        _reliability(recording),
        n_neurons,
        n_pairs,
        {
            method.name: None if method.passes is None else (n_pairs * method.passes[0], n_pairs * method.passes[1])
            for method in methods_by_name(settings.methods)
        },
    )


def cost_of_study(
    recording: Recording, features: LatentFeatures | LayerFeatures, settings: StudySettings, *, known: bool = False
) -> StudyCost:
    """Estimate what a study costs: its steps are timed on a few images, and multiplied.

    The features of all images but a few are drawn at random for that.

    Args:
        recording: responses and image files.
        features: the encoder, or several layers of a network.
        settings: what is asked for.
        known: whether the features are known, so that they cost nothing.

    Returns:
        The estimate.
    """
    encoder = features if isinstance(features, LatentFeatures) else features.deepest
    paths = [recording.paths[row] for row in _spread(recording.n_images, _IMAGES)] if recording.paths else []
    next(image_blocks(features, [paths[:1]]))  # what is loaded when it is first used is not counted
    block, passing = _timed(lambda: next(image_blocks(features, [paths])))
    layer = encoder.layer
    scatter = None if layer not in block.scatter else block.scatter[layer] / block.n_places[layer]
    latent = _like(block.features[layer], recording.n_images)
    plan = plan_study(recording, settings)
    readout, fitting = _fitted(recording, latent, settings, encoder, scatter)
    seconds = {
        "features": 0.0 if known else passing / len(paths) * recording.n_images,
        "cross-validation": fitting * (1 if features is encoder else len(block.features)),
    }
    memory = _peak() + latent.nbytes + 8 * recording.responses.size
    kept = 0
    able = [name for name in recording.neuron_names if name not in plan.excluded]
    if able:
        experiment = Experiment(recording, encoder, latent, settings, readout)
        index = recording.neuron_names.index(able[0])
        pairs = experiment.pairs(index)
        experiment.explained(index, pairs[:1])
        made, explaining = _timed(lambda: experiment.explained(index, pairs[:_PAIRS]))
        share = len(pairs) / len(pairs[:_PAIRS])
        seconds["maps"] = explaining * share * plan.n_neurons
        picture = _compressed({"picture": experiment.picture(pairs[0].image)})
        kept = int(_compressed(packed(*made)) * share * plan.n_neurons)
        kept += picture * min(2 * plan.n_pairs, recording.n_images)
        memory += max(_peak() - memory, 0)
    return StudyCost(seconds, memory, kept + 4 * latent.shape[1] * recording.n_neurons)


def _fitted(
    recording: Recording,
    latent: Tensor,
    settings: StudySettings,
    encoder: LatentFeatures,
    scatter: ndarray | None,
) -> tuple[Any, float]:
    """Readouts of some images, and the time that those of all take."""
    inside = np.flatnonzero(recording.in_category(settings.preferred))
    some = inside[_spread(len(inside), _FITTED)]
    few = recording.select(images=some)
    readout, taken = _timed(
        lambda: preferred_readout(
            few, latent[some], replace(settings, folds=min(_FOLDS, len(some))), features=encoder, scatter=scatter
        )
    )
    larger = len(inside) / len(some)
    rank = min(len(inside), latent.shape[1]) / min(len(some), latent.shape[1])
    return readout, taken * settings.folds / _FOLDS * larger * rank


def _reliability(recording: Recording) -> str:
    if recording.n_phases > 1:
        return f"by {recording.n_phases} phases"
    if recording.halves is not None:
        return "by halves of the repetitions"
    if recording.reliability is not None:
        return "as it was published"
    return "unknown, as there is one phase, and no repetitions"


def _spread(number: int, chosen: int) -> ndarray:
    """Rows that are spread over all."""
    return np.unique(np.linspace(0, number - 1, min(number, chosen)).astype(int))


def _like(few: ndarray, number: int) -> Tensor:
    """Features for many images, about as large as those of a few."""
    rng = np.random.default_rng(0)
    drawn = rng.standard_normal((number, few.shape[1]), dtype=np.float32)
    return torch.from_numpy(few.mean(0) + drawn * (few.std(0) + 1e-3 * np.abs(few).max()))


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def _compressed(arrays: Mapping[str, ndarray]) -> int:
    return sum(len(zlib.compress(array.tobytes())) for array in arrays.values())


def _peak() -> float:
    """Bytes that the process has taken so far, at most; 0 where that cannot be told."""
    if sys.platform == "win32":
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
