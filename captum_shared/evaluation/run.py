"""Run methods on a task, score their maps, and keep what is done."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, final

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from captum_shared._progress import Progress
from captum_shared._resuming import ResumableFolder, versions
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.store import FeatureStore
from captum_shared.evaluation.hardest import MAPS, hardest, pair_maps, writer
from captum_shared.evaluation.scores.evidence import Evidence, KnownPairs
from captum_shared.evaluation.scores.intervals import Interval, bootstrap
from captum_shared.evaluation.scores.records import SCORES
from captum_shared.evaluation.tasks.design import Task, Trial
from captum_shared.evaluation.tasks.preferences import DEFAULT_METHODS, CategoryNeuron, category_neurons
from captum_shared.methods.method import Method
from captum_shared.methods.ours import RECOMMENDED
from captum_shared.methods.registry import methods_by_name

Values: TypeAlias = dict[str, ndarray]

RESULT: Final = "results.json"
_BATCH: Final = 8
_SECONDS: Final = "seconds"
_NEURONS: Final = "neurons"
PACKAGES: Final = ("captum-shared", "captum", "numpy", "scikit-learn", "torch", "torchvision", "zennit", "grad-cam")
"""What computes a benchmark."""


@final
@dataclass(frozen=True)
class Extent:
    """How many pairs of a task to use, and for what.

    Attributes:
        pairs: for the scores of recovery.
        controls: of these, the first so many for intensity, for which the control of each is needed too.
        faithful: of these, the first so many for deletion, insertion and infidelity.
        sanity: of these, the first so many for the sanity checks.

    Raises:
        ValueError: if a number is negative, or there are no pairs.

    Example:
        >>> Extent(pairs=400, controls=100).sanity
        0
    """

    pairs: int = 200
    controls: int = 0
    faithful: int = 0
    sanity: int = 0

    def __post_init__(self) -> None:
        if self.pairs < 1 or min(self.controls, self.faithful, self.sanity) < 0:
            raise ValueError(f"Expected at least one pair and no negative number, got {self}.")


def run_benchmark(
    task: Task,
    chosen: Sequence[str | Method],
    *,
    extent: Extent,
    output: str | Path,
    resume: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Score the maps of methods on a task, and write ``results.json``, and ``maps.npz`` of the hardest pairs.

    Args:
        task: the task.
        chosen: names of methods (:func:`~captum_shared.methods.methods_by_name`), and methods of one's own.
        extent: how many pairs.
        output: the folder to write to.
        resume: whether to go on with the same benchmark in ``output``, or return it if it is finished.
        progress: whether to show a progress bar.

    Returns:
        What is written: ``task``, ``settings``, ``versions`` and ``methods``, each with ``name``, ``family``,
        ``scores`` (name of the score, then ``value``, ``low`` and ``high`` of its 95 % interval over pairs; None where
        it is not defined), ``seconds_per_pair`` and, where the recommended method is among them, ``differences``: by
        how much ``answer_largest`` and ``mass`` lie above those of the recommended method for the same pairs, with an
        interval over neurons, each drawn with all its pairs. The best ``answer_largest`` comes first. Kept are the maps
        of the pairs on which least of the recommended method's (or else the first one's) lies on the answer
        (:func:`~captum_shared.evaluation.hard_pairs`).

    Raises:
        ImportError: if a method's package is not installed.
        ValueError: if ``output`` holds something else, or a method is unknown or given twice.
    """
    compared = methods_by_name(chosen)
    settings = {"task": task.name, **task.settings, **asdict(extent), "methods": [method.name for method in compared]}
    described = {**settings, **versions(*PACKAGES)}
    with ResumableFolder(output, described, result=RESULT, files=(MAPS,), work="benchmark", resume=resume) as folder:
        if not folder.finished:
            parts = _parts(folder, task, compared, extent, progress=progress)
            folder.add(MAPS, _hardest(folder, task, compared, parts, progress=progress))
            folder.finish(_writer(_result(task, compared, settings, parts)))
    finished: dict[str, Any] = json.loads((folder.path / RESULT).read_text(encoding="utf-8"))
    return finished


def _parts(
    folder: ResumableFolder, task: Task, compared: Sequence[Method], extent: Extent, *, progress: bool
) -> list[Values]:
    """The scores of all pairs, kept batch by batch."""
    parts: list[Values] = []
    with Progress(total=extent.pairs * len(compared), desc=task.name, unit="map", disable=not progress) as bar:
        for start in range(0, extent.pairs, _BATCH):
            indices = range(start, min(start + _BATCH, extent.pairs))
            score = partial(_scored, task, compared, indices, extent, bar=bar)
            parts.append(folder.once(f"pairs_{start:05d}", score))
            bar.update(indices.stop * len(compared) - bar.n)  # of what was kept
    return parts


def _hardest(
    folder: ResumableFolder, task: Task, compared: Sequence[Method], parts: Sequence[Values], *, progress: bool
) -> Callable[[Path], None]:
    """Make the maps of the hardest pairs once more, kept pair by pair."""
    judge = compared.index(RECOMMENDED) if RECOMMENDED in compared else 0
    judged = [name for name, score in SCORES.items() if score.needs == "pairs"]
    scores = {name: np.stack([_means(f"{method.name}/{name}", parts) for method in compared]) for name in judged}
    indices = hardest(scores["mass"][judge])
    kept = []
    for index in Progress(indices, desc="maps of the hardest pairs", unit="pair", disable=not progress):
        trial = task.trial(index)
        make = partial(pair_maps, task, _known_pairs([trial], task.similarity), compared, trial)
        kept.append(folder.once(f"maps_{index:05d}", make))
    return writer(kept, indices, scores)


def _means(name: str, parts: Sequence[Values]) -> ndarray:
    """The score of every pair: the mean over its images, of those where the question is not open."""
    values = np.concatenate([part[name] for part in parts])
    means: ndarray = torch.from_numpy(values).double().reshape(len(values), -1).nanmean(1).numpy()
    return means


def _result(
    task: Task, compared: Sequence[Method], settings: dict[str, Any], parts: Sequence[Values]
) -> dict[str, Any]:
    entries = [_summary(method, parts) | _differences(method, compared, parts) for method in compared]
    ranked = sorted(entries, key=lambda entry: -(entry["scores"]["answer_largest"]["value"] or 0))
    return {"task": task.name, "settings": settings, "versions": versions(*PACKAGES), "methods": ranked}


def _writer(result: dict[str, Any]) -> Callable[[Path], object]:
    text = json.dumps(result, indent=2, allow_nan=False) + "\n"
    return lambda path: path.write_text(text, encoding="utf-8")


def run_category_neurons(
    features: LatentFeatures,
    images: str | Path,
    *,
    names: Sequence[str] = DEFAULT_METHODS,
    seed: int = 0,
    settings: Mapping[str, Any],
    output: str | Path,
    store: FeatureStore | None = None,
    resume: bool = False,
) -> list[CategoryNeuron]:
    """Simulate neurons that prefer a category, explain what drives them, and write ``results.json``.

    Args:
        features: encoder with its ``preprocess``.
        images: folder with a subfolder of photographs for each category.
        names: names of methods.
        seed: as of :func:`~captum_shared.evaluation.category_neurons`.
        settings: what else there is to tell of the network, ready for JSON.
        output: the folder to write to.
        store: as of :func:`~captum_shared.evaluation.category_neurons`.
        resume: whether ``output`` may hold the same already.

    Returns:
        The neurons. Written are ``task``, ``settings``, ``versions`` and ``neurons``, each as its ``as_dict`` has it.

    Raises:
        ValueError: as :func:`~captum_shared.evaluation.category_neurons`.
    """
    of_store = {} if store is None or store.dtype == np.float32 else {"features": str(store.dtype)}
    told = {**settings, **of_store, "seed": seed, "layer": features.layer, "methods": list(names)}
    described = {**told, **versions(*PACKAGES)}
    with ResumableFolder(output, described, result=RESULT, work="benchmark", resume=resume) as folder:
        neurons = category_neurons(features, images, names=names, seed=seed, store=store, progress=True)
        entries = [neuron.as_dict() for neuron in neurons]
        result = {"task": "neurons", "settings": told, "versions": versions(*PACKAGES), "neurons": entries}
        folder.finish(_writer(result))
    return neurons


def _scored(task: Task, chosen: Sequence[Method], indices: range, extent: Extent, *, bar: Progress) -> Values:
    """The scores of some pairs, pair first, and the seconds that their maps took, by method and score."""
    pairs = _known_pairs([task.trial(index) for index in indices], task.similarity)
    counts = {needs: sum(index < n_pairs for index in indices) for needs, n_pairs in asdict(extent).items()}
    some = {needs: pairs.first(n_pairs) for needs, n_pairs in counts.items() if n_pairs}
    values: Values = {_NEURONS: pairs.neurons.numpy()}
    for method in chosen:
        bar.set_postfix_str(method.name)
        start = time.perf_counter()
        attributions = method.attribute(task.similarity, pairs.inputs, pairs.neurons)
        whole = Evidence(method, pairs, attributions, method.heatmaps(attributions, pairs.inputs))
        shown = whole.shown  # which waits for the device
        seconds = (time.perf_counter() - start) / len(shown)
        evidence = {needs: whole.first(part) for needs, part in some.items()}
        for score in SCORES.values():
            if score.needs in evidence:
                values[f"{method.name}/{score.name}"] = score.call(evidence[score.needs]).cpu().numpy()
        values[f"{method.name}/{_SECONDS}"] = np.full(len(shown), seconds)
        bar.update(len(shown))
    return values


def _known_pairs(trials: Sequence[Trial], similarity: NeuronSimilarity) -> KnownPairs:
    images = torch.stack([trial.images for trial in trials], 1)
    like = next(similarity.image_features.parameters(), images)
    first, second, third = (each.to(like).contiguous(memory_format=torch.channels_last) for each in images)
    regions = torch.stack([trial.regions for trial in trials])
    return KnownPairs(similarity, first, second, third, regions, torch.tensor([trial.neuron for trial in trials]))


def _summary(method: Method, parts: Sequence[Values]) -> dict[str, Any]:
    """The entry of a method in ``results.json``."""
    computed = {name: values for name in SCORES if (values := _values(f"{method.name}/{name}", parts)) is not None}
    return {
        "name": method.name,
        "family": method.family,
        "scores": {name: _json(SCORES[name].interval(values)) for name, values in computed.items()},
        "seconds_per_pair": float(np.median(np.concatenate([part[f"{method.name}/{_SECONDS}"] for part in parts]))),
    }


def _differences(method: Method, compared: Sequence[Method], parts: Sequence[Values]) -> dict[str, Any]:
    """How a method differs from the recommended one, if that is among those compared."""
    if method == RECOMMENDED or RECOMMENDED not in compared:
        return {}
    neurons, differences = _values(_NEURONS, parts), {}
    for name in [score.name for score in SCORES.values() if score.differs]:
        own, other = (_values(f"{each.name}/{name}", parts) for each in (method, RECOMMENDED))
        if own is not None and other is not None:
            differences[name] = _json(bootstrap(own - other, neurons))
    return {"differences": differences}


def _values(name: str, parts: Sequence[Values]) -> Tensor | None:
    """The values of all pairs, or None if there are none."""
    values = [part[name] for part in parts if name in part]
    return torch.from_numpy(np.concatenate(values)) if values else None


def _json(interval: Interval) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in interval._asdict().items()}
