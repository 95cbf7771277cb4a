"""How far the maps depend on the Jacobian, and on the network."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_shared.figures.neurons import best_encoded, why_none
from captum_shared.figures.objects import KINDS
from captum_shared.figures.page import draw_distributions, plain_text, sentence_figure
from captum_shared.figures.shown import PairMaps, common_scale, method_shown, scale_note
from captum_shared.figures.tiles import TileRow, side_groups, tile_page
from captum_shared.methods.method import Method
from captum_shared.study.correlation import common_pairs, map_correlation, pair_correlation
from captum_shared.study.result import StudyResult

_N_SHOWN = 5
_JACOBIANS = ("paper", "ours-ig")
_NOTE = (
    "The strongest pair of the best encoded neurons. {scales}. Rank correlation: Spearman's, over {pixels}, "
    "mean of image and reference. Right: all pairs of all neurons, with median and quartiles."
)
_OBJECT = "pixels of the object (further from the median colour of the image's frame than 95 % of the frame is)"


@plain_text
def integrated_gradients_figure(result: StudyResult) -> Figure:
    """Compare the maps made with gradients and with Integrated Gradients on the same pairs.

    For the best encoded neurons stands the strongest pair with both kinds of maps; their units differ, so that each
    kind has a scale of its own. At the right is Spearman's rank correlation over pixels of all pairs of all neurons.

    It is taken inside the object (:func:`~captum_shared.study.foreground`): over all pixels, a background that both
    maps leave dark would make them alike.

    Args:
        result: a study with the methods ``"paper"`` and ``"ours-ig"``.

    Returns:
        The figure; it holds a sentence if no neuron takes part.

    Raises:
        ValueError: if one of the two methods is not in the study.
    """
    methods = [method_shown(result, name) for name in _JACOBIANS]
    neurons = best_encoded(result.explained)
    if not neurons:
        return sentence_figure(why_none(result))
    shown = [[PairMaps(result, neuron, 0, method) for method in methods] for neuron in neurons[:_N_SHOWN]]
    measured = [f"rank correlation {_number(maps[0].pair.gradient_ig_correlation)}" for maps in shown]
    note = _NOTE.format(scales=_scales(methods[0], "kind"), pixels=_OBJECT)
    kinds = {"gradients": "gradients", "integrated": "Integrated Gradients"}
    figure, axes = _compared(shown, measured, kinds, title="Gradients and Integrated Gradients", note=note)
    pairs = [pair for neuron in neurons for pair in neuron.pairs]
    values: dict[str, list[float]] = {
        kind: [value for pair in pairs if pair.kind == kind and (value := pair.gradient_ig_correlation) is not None]
        for kind in KINDS
    }
    draw_distributions(axes, values, "rank correlation of the two maps")
    return figure


@plain_text
def architectures_figure(results: Sequence[StudyResult], names: Sequence[str], *, method: str | None = None) -> Figure:
    """Compare the maps of several networks on the same pairs.

    For the neurons that the first network encodes best stands the strongest common pair with the maps of every
    network, each on a scale of its own unless their scale is absolute. At the right is the rank correlation of the
    maps, for every two networks (:func:`~captum_shared.study.map_correlation`).

    Args:
        results: two or more studies that explain the same pairs.
        names: what to call the networks.
        method: which maps to show; None for the recommended ones or, if they are not in the first study, its first.

    Returns:
        The figure; it holds a sentence if no neuron takes part in one of them.

    Raises:
        ValueError: if there are fewer than two studies, not as many names, no maps by this method, or no common pair.

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
        if not result.explained:
            return sentence_figure(why_none(result))
    common = common_pairs(results)
    chosen = method_shown(results[0], method)
    neurons = [neuron.name for neuron in best_encoded(results[0].explained) if neuron.name in common][:_N_SHOWN]
    shown = [
        [_maps(result, name, index, chosen) for result, index in zip(results, common[name][0], strict=True)]
        for name in neurons
    ]
    numbered = {f"network {number}": f"network {number}: {name}" for number, name in enumerate(names, start=1)}
    couples = {f"{a + 1} vs. {b + 1}": (a, b) for a, b in itertools.combinations(range(len(results)), 2)}
    measured = [
        "rank correlation "
        + ", ".join(f"({label}) {_number(pair_correlation(maps[a], maps[b]))}" for label, (a, b) in couples.items())
        for maps in ([pair.heats() for pair in row] for row in shown)
    ]
    note = _NOTE.format(scales=f"Maps: {chosen.title}. {_scales(chosen, 'network')}", pixels="all pixels")
    title = "The same pairs, explained with several networks"
    figure, axes = _compared(shown, measured, numbered, title=title, note=note)
    values = {
        label: [value for own in map_correlation(results[a], results[b], chosen.name).values() for value in own]
        for label, (a, b) in couples.items()
    }
    draw_distributions(axes, values, "rank correlation of the two maps")
    return figure


def _maps(result: StudyResult, name: str, index: int, method: Method) -> PairMaps:
    return PairMaps(result, next(neuron for neuron in result.included if neuron.name == name), index, method)


def _scales(method: Method, what: str) -> str:
    whose = "All maps are on one scale" if method.absolute else f"The maps of each {what} are on a scale of their own"
    return f"{whose}, {scale_note(method)}"


def _compared(
    shown: Sequence[Sequence[PairMaps]], measured: Sequence[str], kinds: Mapping[str, str], *, title: str, note: str
) -> tuple[Figure, Axes]:
    """A row for each pair with all its maps, and axes for their agreement."""
    norms = [common_scale([[maps] for maps in column], column[0].method) for column in zip(*shown, strict=True)]
    rows = [
        TileRow(side_groups(list(zip(maps, norms, strict=True))), heading=f"{maps[0].neuron.name}: {text}")
        for maps, text in zip(shown, measured, strict=True)
    ]
    rows[0] = replace(rows[0], heads=(("image", *kinds), ("reference", *kinds)))
    bars = dict(zip(kinds.values(), norms, strict=True))
    figure, (axes,) = tile_page([rows], bars, title=title, note=note, summaries=1)
    return figure, axes


def _number(value: float | None) -> str:
    return "unknown" if value is None or math.isnan(value) else f"{value:.2f}"
