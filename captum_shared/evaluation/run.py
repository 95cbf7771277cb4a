"""Run methods on a task, score their maps, and keep what is done."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, final

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor
from tqdm import tqdm

from captum_shared._resuming import ResumableFolder, versions
from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.evaluation.scores.faithfulness import PairFaithfulness, unexplained_share
from captum_shared.evaluation.scores.intervals import Interval, bootstrap, bootstrap_auroc
from captum_shared.evaluation.scores.recovery import recovery_scores, total_mass
from captum_shared.evaluation.scores.sanity import network_agreement, readout_agreement, reference_agreement
from captum_shared.evaluation.tasks.design import Task, Trial
from captum_shared.methods.method import Method
from captum_shared.methods.registry import methods_by_name

Scores: TypeAlias = dict[str, ndarray]

RESULT: Final = "results.json"
_BATCH = 8
_RANDOMISED = 1 / 3  # the last third of the layers
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


@dataclass(frozen=True, eq=False)
class _Batch:
    """The tensors of some trials."""

    images: Tensor
    references: Tensor
    controls: Tensor
    regions: Tensor
    neurons: Tensor

    @classmethod
    def of(cls, trials: Sequence[Trial], similarity: NeuronSimilarity) -> "_Batch":
        images = torch.stack([trial.images for trial in trials], 1)
        like = next(similarity.image_features.parameters(), images)
        first, second, third = (each.to(like).contiguous(memory_format=torch.channels_last) for each in images)
        regions = torch.stack([trial.regions for trial in trials])
        return cls(first, second, third, regions, torch.tensor([trial.neuron for trial in trials]))

    @property
    def pair(self) -> Pair:
        return self.images, self.references


def run_benchmark(
    task: Task,
    chosen: Sequence[str | Method],
    *,
    extent: Extent,
    output: str | Path,
    resume: bool = False,
    progress: bool = True,
) -> dict[str, Any]:
    """Score the maps of methods on a task, and write ``results.json``.

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
        it is not defined) and ``seconds_per_pair``. The best ``answer_largest`` comes first.

    Raises:
        ImportError: if a method's package is not installed.
        ValueError: if ``output`` holds something else, or a method is unknown or given twice.
    """
    compared = methods_by_name(chosen)
    settings = {"task": task.name, **task.settings, **asdict(extent), "methods": [method.name for method in compared]}
    folder = ResumableFolder(
        output, {**settings, **versions(*PACKAGES)}, result=RESULT, work="benchmark", resume=resume
    )
    if folder.finished:
        folder.clear()
        found: dict[str, Any] = json.loads((folder.path / RESULT).read_text(encoding="utf-8"))
        return found
    parts: list[Scores] = []
    with tqdm(total=extent.pairs, desc=task.name, unit="pair", disable=not progress) as bar:
        for start in range(0, extent.pairs, _BATCH):
            places = range(start, min(start + _BATCH, extent.pairs))
            parts.append(folder.once(f"pairs_{start:05d}", lambda at=places: _scored(task, compared, at, extent)))  # type: ignore[misc]
            bar.update(len(places))
    entries = [_summary(method, parts) for method in compared]
    ranked = sorted(entries, key=lambda entry: -(entry["scores"]["answer_largest"]["value"] or 0))
    result = {"task": task.name, "settings": settings, "versions": versions(*PACKAGES), "methods": ranked}
    folder.finish(lambda path: path.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8"))  # type: ignore[arg-type]
    return result


def _scored(task: Task, chosen: Sequence[Method], places: range, extent: Extent) -> Scores:
    """The scores of some pairs, (pair, side) each, under ``method/score``."""
    batch = _Batch.of([task.trial(place) for place in places], task.similarity)
    faithful = sum(place < extent.faithful for place in places)
    judge = _faithfulness(task, batch, faithful) if faithful else None
    found: Scores = {}
    for method in chosen:
        start = time.perf_counter()
        attributions = method.attribute(task.similarity, batch.pair, batch.neurons)
        maps = method.heatmaps(attributions, batch.pair)
        shown = torch.stack(maps, 1).cpu()  # which waits for the device
        seconds = (time.perf_counter() - start) / len(places)
        scores: dict[str, Tensor] = recovery_scores(shown, batch.regions)
        scores["seconds"] = torch.full((len(places),), seconds)
        if judge is not None:
            first = maps[0][:faithful], maps[1][:faithful]
            scores |= {"deletion": judge.deletion(first), "insertion": judge.insertion(first)}
            scores["infidelity"] = _infidelity(task, method, batch, attributions, faithful)
        scores |= _intensities(task, method, batch, maps, sum(place < extent.controls for place in places))
        scores |= _sanity(task, method, batch, sum(place < extent.sanity for place in places))
        found |= {f"{method.name}/{name}": values.cpu().numpy() for name, values in scores.items()}
    return found


def _faithfulness(task: Task, batch: _Batch, n: int) -> PairFaithfulness:
    return PairFaithfulness(task.similarity, (batch.images[:n], batch.references[:n]), batch.neurons[:n])


def _infidelity(task: Task, method: Method, batch: _Batch, attributions: Pair, n: int) -> Tensor:
    """Of gradients by pixels; open for maps of a layer, and for contributions, which are no local approximation."""
    if method.kind != "gradient":
        return torch.full((n,), torch.nan, dtype=torch.float64)
    inputs, shown = (batch.images[:n], batch.references[:n]), (attributions[0][:n], attributions[1][:n])
    return unexplained_share(task.similarity, inputs, attributions=shown, target=batch.neurons[:n])


def _intensities(task: Task, method: Method, batch: _Batch, maps: Pair, n: int) -> dict[str, Tensor]:
    """Total mass of the maps of the first pairs, and of the same images with their controls."""
    if n == 0:
        return {}
    controls = method.maps(task.similarity, (batch.images[:n], batch.controls[:n]), batch.neurons[:n])
    shared, unshared = (sum(total_mass(side[:n]) for side in pair) for pair in (maps, controls))
    return {"intensity_shared": torch.as_tensor(shared), "intensity_unshared": torch.as_tensor(unshared)}


def _sanity(task: Task, method: Method, batch: _Batch, n: int) -> dict[str, Tensor]:
    """Agreement of the maps of the first pairs with those of a network, a readout or a reference that is wrong."""
    if n == 0:
        return {}
    inputs, neurons = (batch.images[:n], batch.references[:n]), batch.neurons[:n]
    network = network_agreement(method.maps, task.similarity, inputs=inputs, target=neurons, shares=(_RANDOMISED,))
    swapped = torch.full((n,), torch.nan, dtype=torch.float64)
    if n > 1:  # there has to be another reference to swap with
        swapped = reference_agreement(method.maps, task.similarity, inputs=inputs, target=neurons)
    return {
        "network_randomised": network[0],
        "readout_replaced": readout_agreement(method.maps, task.similarity, inputs=inputs, target=neurons),
        "reference_swapped": swapped,
    }


def _summary(method: Method, parts: Sequence[Scores]) -> dict[str, Any]:
    """The entry of a method in ``results.json``."""
    keys = dict.fromkeys(key for part in parts for key in part if key.rpartition("/")[0] == method.name)
    values = {
        key.rpartition("/")[2]: torch.from_numpy(np.concatenate([part[key] for part in parts if key in part]))
        for key in keys
    }
    seconds = float(values.pop("seconds").median())
    scores = {}
    if "intensity_shared" in values:
        scores["intensity"] = bootstrap_auroc(values.pop("intensity_shared"), values.pop("intensity_unshared"))
    scores = {name: bootstrap(each) for name, each in values.items()} | scores
    return {
        "name": method.name,
        "family": method.family,
        "scores": {name: _json(interval) for name, interval in scores.items()},
        "seconds_per_pair": seconds,
    }


def _json(interval: Interval) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in interval._asdict().items()}


def table(result: Mapping[str, Any], scores: Sequence[str] = ("answer_largest", "mass")) -> str:
    """Write the methods of a benchmark as a table in Markdown, in the order of the result.

    Args:
        result: what :func:`run_benchmark` returns.
        scores: which scores to show.

    Returns:
        The table: each score with its interval, and seconds per pair.

    Example:
        >>> entry = {"name": "mine", "family": "ours", "seconds_per_pair": 0.5}
        >>> scores = {"mass": {"value": 0.5, "low": 0.4, "high": 0.6}}
        >>> print(table({"methods": [entry | {"scores": scores}]}, ["mass"]))
        | method | family | mass | s per pair |
        |---|---|---|---|
        | mine | ours | 0.50 [0.40, 0.60] | 0.500 |
    """
    rows = [["method", "family", *(score.replace("_", " ") for score in scores), "s per pair"]]
    for entry in result["methods"]:
        cells = [_cell(entry["scores"].get(score)) for score in scores]
        rows.append([entry["name"], entry["family"], *cells, f"{entry['seconds_per_pair']:.3f}"])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _cell(score: Mapping[str, float | None] | None) -> str:
    if score is None or score["value"] is None:
        return "-"
    return f"{score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}]"
