"""How far the maps depend on the Jacobian and on the network."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_shared.figures.neurons import best_encoded, why_none
from captum_shared.figures.objects import KINDS
from captum_shared.figures.page import draw_distributions, sentence_figure
from captum_shared.figures.tiles import SCALE, PairMaps, TileRow, common_scale, side_groups, tile_page
from captum_shared.study.agreement import agreement, common_pairs, map_agreement
from captum_shared.study.result import JACOBIANS, StudyResult

_N_SHOWN = 5
_METHODS = {"gradient": "gradients", "integrated": "Integrated Gradients"}
_NOTE = (
    "The strongest pair of the best encoded neurons. The maps of each kind are on a scale of their own, since their "
    f"units differ, {SCALE}. Rank correlation: Spearman's, over pixels, mean of image and reference. Right: all pairs "
    "of all neurons, with median and quartiles."
)


def integrated_gradients_figure(result: StudyResult) -> Figure:
    """Compare the maps made with gradients and with Integrated Gradients on the same pairs.

    For the best encoded neurons stands the strongest pair with both kinds of maps; their units differ, so that each
    kind has a scale of its own. At the right is Spearman's rank correlation over pixels of all pairs of all neurons.

    Args:
        result: a study.

    Returns:
        The figure; it holds a sentence if no neuron takes part.
    """
    neurons = [neuron for neuron in best_encoded(result.included) if neuron.pairs]
    if not neurons:
        return sentence_figure(why_none(result))
    shown = [[PairMaps(result, neuron, 0, jacobian) for jacobian in JACOBIANS] for neuron in neurons[:_N_SHOWN]]
    measured = [f"rank correlation {_number(maps[0].pair.gradient_ig_correlation)}" for maps in shown]
    figure, axes = _compared(shown, measured, _METHODS, title="Gradients and Integrated Gradients")
    values: dict[str, list[float]] = {
        kind: [pair.gradient_ig_correlation for neuron in neurons for pair in neuron.pairs if pair.kind == kind]
        for kind in KINDS
    }
    draw_distributions(axes, values, "rank correlation of the two maps")
    return figure


def architectures_figure(results: Sequence[StudyResult], names: Sequence[str]) -> Figure:
    """Compare the maps of several networks on the same pairs.

    For the neurons that the first network encodes best stands the strongest common pair with the maps of every
    network, each on a scale of its own. At the right is the rank correlation of the maps, for every two networks
    (:func:`~captum_shared.study.map_agreement`).

    Args:
        results: two or more studies that explain the same pairs.
        names: what to call the networks.

    Returns:
        The figure; it holds a sentence if no neuron takes part in one of them.

    Raises:
        ValueError: if there are fewer than two studies, not as many names, or no common pair.

    Example:
        >>> architectures_figure([], [])
        Traceback (most recent call last):
        ValueError: Expected two or more studies with a name each, got 0 studies and 0 names.
    """
    if len(results) < 2 or len(results) != len(names):
        raise ValueError(
            f"Expected two or more studies with a name each, got {len(results)} studies and {len(names)} names."
        )
    for result in results:
        if not result.included:
            return sentence_figure(why_none(result))
    common = common_pairs(results)
    neurons = [neuron.name for neuron in best_encoded(results[0].included) if neuron.name in common][:_N_SHOWN]
    shown = [
        [_maps(result, name, index) for result, index in zip(results, common[name][0], strict=True)] for name in neurons
    ]
    numbered = {f"network {number}": f"network {number}: {name}" for number, name in enumerate(names, start=1)}
    couples = {f"{a + 1} vs. {b + 1}": (a, b) for a, b in itertools.combinations(range(len(results)), 2)}
    measured = [
        "rank correlation "
        + ", ".join(f"({label}) {_number(agreement(maps[a], maps[b]))}" for label, (a, b) in couples.items())
        for maps in ([pair.heats() for pair in row] for row in shown)
    ]
    figure, axes = _compared(shown, measured, numbered, title="The same pairs, explained with several networks")
    values = {
        label: [value for own in map_agreement(results[a], results[b]).values() for value in own]
        for label, (a, b) in couples.items()
    }
    draw_distributions(axes, values, "rank correlation of the two maps")
    return figure


def _maps(result: StudyResult, name: str, index: int) -> PairMaps:
    return PairMaps(result, next(neuron for neuron in result.included if neuron.name == name), index)


def _compared(
    shown: Sequence[Sequence[PairMaps]], measured: Sequence[str], kinds: Mapping[str, str], *, title: str
) -> tuple[Figure, Axes]:
    """A row for each pair with all its maps, and axes for their agreement."""
    norms = [common_scale([[maps] for maps in column]) for column in zip(*shown, strict=True)]
    rows = [
        TileRow(side_groups(list(zip(maps, norms, strict=True))), heading=f"{maps[0].neuron.name}: {text}")
        for maps, text in zip(shown, measured, strict=True)
    ]
    rows[0] = replace(rows[0], heads=(("image", *kinds), ("reference", *kinds)))
    bars = dict(zip(kinds.values(), norms, strict=True))
    figure, (axes,) = tile_page([rows], bars, title=title, note=_NOTE, summaries=1)
    return figure, axes


def _number(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:.2f}"
