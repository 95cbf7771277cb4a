"""Relate a behavioural measure to what the neurons of a study make of the images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Float64
from numpy import ndarray

from captum_shared.study.behaviour import MEASURES, Behaviour, BehaviourTable
from captum_shared.study.experiment import Experiment
from captum_shared.study.rank_tests import related
from captum_shared.study.result import NeuronResult

_ALL: Final = "all neurons"
_OF_PAIRS: Final = ("similarity", "agreement")


def relate_behaviour(experiment: Experiment, neurons: Sequence[NeuronResult], table: BehaviourTable) -> Behaviour:
    """Correlate predicted responses, similarities to references and agreements of maps with behaviour.

    Predicted responses are standardised neuron by neuron, within categories, and averaged over neurons, of all images;
    similarities and agreements, which there are of explained pairs, are taken from the mean of their neuron, and
    averaged over the neurons that have the image (or, of behaviour that is of pairs, the image with this reference).
    Neurons that are predicted no better than by chance are left out.

    Args:
        experiment: the study.
        neurons: what was measured of its neurons.
        table: the behaviour.

    Returns:
        The relations, with permutation tests.
    """
    recording, known = experiment.recording, _known(neurons)
    category = dict(zip(recording.stimulus_ids, recording.categories, strict=True))
    of_pairs = [_values_of_pairs(neurons[index], by_reference=table.of_pairs) for index in known]
    pairs = list(dict.fromkeys(pair for values in of_pairs for pair in values["similarity"]))
    images, of_images, responses = recording.stimulus_ids, table.of_images, _responses(experiment, known)
    behaviour = np.array(
        [of_images.get(image, math.nan) for image in images]
        + [table.values.get(pair, math.nan) if table.of_pairs else of_images.get(pair[0], math.nan) for pair in pairs]
    )
    categories = [category[image] for image in (*images, *(image for image, _ in pairs))]
    measures: dict[tuple[str, str], ndarray] = {}
    for name, members in _groups([neurons[index] for index in known]).items():
        own = responses[:, members].mean(axis=1) if members else np.full(len(images), math.nan)
        measures["response", name] = np.concatenate([own, np.full(len(pairs), math.nan)])
        for measure in _OF_PAIRS:
            values = _mean([of_pairs[member][measure] for member in members], pairs)
            measures[measure, name] = np.concatenate([np.full(len(images), math.nan), values])
    measures = {name: values for name, values in measures.items() if name[0] != "agreement" or _is_known(values)}
    seed, single = experiment.settings.seed, np.arange(len(images))
    by_neuron = {("response", neurons[index].name): responses[:, column] for column, index in enumerate(known)}
    return Behaviour(
        name=table.name,
        relations=related(measures, behaviour, categories, seed=seed),
        neurons=related(by_neuron, behaviour[single], categories[: len(images)], seed=seed) if by_neuron else (),
        points={name: _points(measures.get((name, _ALL)), behaviour, categories) for name in MEASURES},
    )


def _known(neurons: Sequence[NeuronResult]) -> list[int]:
    return [index for index, neuron in enumerate(neurons) if not neuron.excluded and not neuron.unpredicted]


def _responses(experiment: Experiment, neurons: Sequence[int]) -> Float64[ndarray, "image neuron"]:
    """Predicted responses, standardised within categories."""
    with torch.no_grad():
        predicted = experiment.readout(experiment.latent.double())[:, list(neurons)].double().cpu().numpy()
    categories = np.asarray(experiment.recording.categories)
    for name in np.unique(categories):
        predicted[categories == name] -= predicted[categories == name].mean(axis=0)
    spread = predicted.std(axis=0)
    standard: ndarray = np.divide(predicted, spread, out=np.zeros_like(predicted), where=spread > 0)
    return standard


def _groups(neurons: Sequence[NeuronResult]) -> dict[str, list[int]]:
    """All neurons, and those of each region and subject, where there are several."""
    groups = {_ALL: list(range(len(neurons)))}
    for by in ("region", "subject"):
        names = list(dict.fromkeys(getattr(neuron, by) for neuron in neurons))
        if len(names) > 1:
            for name in names:
                own = [index for index, neuron in enumerate(neurons) if getattr(neuron, by) == name]
                groups[f"{by} {name or '(unknown)'}"] = own
    return groups


def _values_of_pairs(neuron: NeuronResult, *, by_reference: bool) -> dict[str, dict[tuple[str, str], float]]:
    """Similarity and agreement of a neuron's pairs, less their mean."""
    values: dict[str, dict[tuple[str, str], float]] = {}
    for measure in _OF_PAIRS:
        own = {
            (pair.image, pair.reference if by_reference else ""): getattr(pair, measure)
            for pair in neuron.pairs
            if getattr(pair, measure) is not None
        }
        mean = math.fsum(own.values()) / len(own) if own else 0.0
        values[measure] = {pair: value - mean for pair, value in own.items()}
    return values


def _mean(
    values: Sequence[Mapping[tuple[str, str], float]], pairs: Sequence[tuple[str, str]]
) -> Float64[ndarray, " pair"]:
    """Mean over the neurons that have a pair; NaN where none has."""
    known: dict[tuple[str, str], list[float]] = {pair: [] for pair in pairs}
    for of_neuron in values:
        for pair, value in of_neuron.items():
            known[pair].append(value)
    return np.array([math.fsum(each) / len(each) if each else math.nan for each in known.values()])


def _is_known(values: ndarray) -> bool:
    return bool(np.isfinite(values).any())


def _points(
    values: ndarray | None, behaviour: ndarray, categories: Sequence[str]
) -> tuple[tuple[str, float, float], ...]:
    if values is None:
        return ()
    both = np.flatnonzero(np.isfinite(values) & np.isfinite(behaviour)).tolist()
    return tuple((categories[index], float(values[index]), float(behaviour[index])) for index in both)
