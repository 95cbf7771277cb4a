"""All neurons of a study at a glance: a table to sort and filter, and charts that are linked to it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import numpy as np

from captum_shared.figures.neurons import reasons
from captum_shared.report.libraries import CHARTS
from captum_shared.report.page import Part, number
from captum_shared.report.selectivity import Selectivity, selectivities
from captum_shared.study.json_numbers import with_null
from captum_shared.study.result import NeuronResult, PairResult, StudyResult

STATES: Final = ("explained", "no better than chance", "no pairs", "excluded")
"""What a neuron can be, best first."""

_STRONG: Final = ("strong",)
_AVERAGED: Final = ("heldout", "reliability", "selectivity", "agreement")


@final
@dataclass(frozen=True)
class Measure:
    """A number of every neuron, as a column of the table.

    Attributes:
        name: what the data call it.
        title: what stands above the column.
        value: of a neuron; NaN if not known.
        form: how to write it.
        filtered: whether the page lets one choose a range of it.

    Example:
        >>> nan = float("nan")
        >>> MEASURES[0].value(NeuronResult("A", "IT", "", "", 0.5, *[nan] * 5))
        0.5
    """

    name: str
    title: str
    value: Callable[[NeuronResult], float]
    form: str = ".2f"
    filtered: bool = True


def _mean_over_pairs(attribute: str) -> Callable[[NeuronResult], float]:
    def mean(neuron: NeuronResult) -> float:
        values = [getattr(pair, attribute) for pair in neuron.pairs if pair.kind in _STRONG]
        known = [value for value in values if value is not None and not math.isnan(value)]
        return float(np.mean(known)) if known else math.nan

    return mean


MEASURES: Final = (
    Measure("heldout", "held-out correlation", lambda neuron: neuron.heldout_correlation),
    Measure("ooc", "correlation, other categories", lambda neuron: neuron.ooc_correlation, filtered=False),
    Measure("reliability", "reliability", lambda neuron: neuron.reliability),
    Measure("ceiling", "ceiling", lambda neuron: neuron.ceiling, filtered=False),
    Measure("preferred", "response, preferred", lambda neuron: neuron.preferred_mean, ".3g", filtered=False),
    Measure("others", "response, others", lambda neuron: neuron.ooc_mean, ".3g", filtered=False),
    Measure("agreement", "agreement", _mean_over_pairs("agreement")),
    Measure("similarity", "similarity", _mean_over_pairs("similarity"), filtered=False),
    Measure("pairs", "pairs", lambda neuron: float(len(neuron.pairs)), ".0f", filtered=False),
)
"""The columns of the table that every study has, in their order; that of selectivity comes after the responses."""


def population(result: StudyResult, addresses: Mapping[str, str]) -> Part:
    """Make the part of a page that shows all neurons.

    Args:
        result: the study.
        addresses: of the section of every neuron, by its name.

    Returns:
        Summaries, charts and the table.
    """
    selective = selectivities(result)
    measures = _measures(selective)
    values = [[each.value(neuron) for each in measures] for neuron in result.neurons]
    rows = [_row(neuron, addresses, measures, own) for neuron, own in zip(result.neurons, values, strict=True)]
    regions = [*dict.fromkeys(neuron.region for neuron in result.neurons)]
    context = {
        "rows": rows,
        "measures": measures,
        "regions": regions,
        "subjects": [*dict.fromkeys(neuron.subject for neuron in result.neurons)],
        "states": [state for state in STATES if any(row["state"] == state for row in rows)],
        "selectivity": selective,
        "summary": _summary(result, selective),
        "preferred": str(result.settings.get("preferred", "")),
        "n_coloured": min(len(regions), 6),
    }
    data = {
        "states": context["states"],
        "measures": [{"name": each.name, "title": each.title} for each in measures],
        "values": with_null(values),
        "neurons": [
            [row["name"], row["region"], row["subject"], row["state"], row["address"], regions.index(row["region"])]
            for row in rows
        ],
        "pairs": with_null(_strong_pairs(result.neurons)),
        "interval": with_null(result.null_interval),
    }
    return Part(
        "population.html.jinja",
        context,
        data={"population-data": data},
        scripts=("charts.js", "table.js", "population.js"),
        styles=("table.css", "population.css"),
        libraries=(CHARTS,),
    )


def _measures(selective: Selectivity) -> list[Measure]:
    own = Measure("selectivity", selective.title, lambda neuron: selective.values[neuron.name])
    at = 1 + next(index for index, each in enumerate(MEASURES) if each.name == "others")
    return [*MEASURES[:at], own, *MEASURES[at:]]


def _row(
    neuron: NeuronResult, addresses: Mapping[str, str], measures: Sequence[Measure], values: Sequence[float]
) -> dict[str, Any]:
    return {
        "name": neuron.name,
        "region": neuron.region,
        "subject": neuron.subject,
        "state": state(neuron),
        "reason": neuron.excluded,
        "address": addresses[neuron.name],
        "cells": [number(value, each.form) for each, value in zip(measures, values, strict=True)],
    }


def state(neuron: NeuronResult) -> str:
    """Tell in a few words what became of a neuron.

    Args:
        neuron: the neuron.

    Returns:
        One of :data:`STATES`.

    Example:
        >>> nan = float("nan")
        >>> state(NeuronResult("A", "IT", "", "silent", *[nan] * 6))
        'excluded'
    """
    if neuron.excluded:
        return "excluded"
    if neuron.unpredicted:
        return "no better than chance"
    return "explained" if neuron.pairs else "no pairs"


def _strong_pairs(neurons: Sequence[NeuronResult]) -> list[tuple[int, float, float, str, str]]:
    """Of every pair of an image that drives its neuron: the neuron, similarity, agreement and the two images."""

    def known(pair: PairResult) -> bool:
        return pair.kind in _STRONG and pair.agreement is not None

    return [
        (index, pair.similarity, math.nan if pair.agreement is None else pair.agreement, pair.image, pair.reference)
        for index, neuron in enumerate(neurons)
        for pair in neuron.pairs
        if known(pair)
    ]


def _summary(result: StudyResult, selective: Selectivity) -> dict[str, Any]:
    low, high = result.null_interval
    return {
        "states": Counter(map(state, result.neurons)),
        "reasons": reasons(result.neurons),
        "interval": "" if math.isnan(low) else f"{number(low)} to {number(high)}",
        "regions": _by_region(result, selective),
        "layers": sorted(result.layers.items(), key=lambda each: -each[1]),
        "layer": result.layer if result.layers else "",
        "compared": [(each.by, each.told) for each in result.compared],
        "behaviour": result.behaviour.told if result.behaviour else (),
    }


def _by_region(result: StudyResult, selective: Selectivity) -> list[dict[str, Any]]:
    """Numbers of neurons and means over those that take part, by region and, of several, by subject."""
    several = len({neuron.subject for neuron in result.neurons}) > 1
    groups: dict[tuple[str, ...], list[NeuronResult]] = {}
    for neuron in result.neurons:
        groups.setdefault((neuron.region, neuron.subject) if several else (neuron.region,), []).append(neuron)
    shown = [
        each for each in _measures(selective) if each.name in ("heldout", "reliability", "selectivity", "agreement")
    ]
    return [
        {
            "names": [name or "not told" for name in names],
            "n": len(neurons),
            "explained": sum(state(neuron) == "explained" for neuron in neurons),
            "means": [(each.title, number(_mean(each, neurons))) for each in shown],
        }
        for names, neurons in groups.items()
    ]


def _mean(measure: Measure, neurons: Sequence[NeuronResult]) -> float:
    values = [measure.value(neuron) for neuron in neurons if not neuron.excluded]
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
