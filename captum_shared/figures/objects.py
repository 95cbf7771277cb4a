"""What drives each neuron from outside the preferred category, and what it resembles there."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import get_args

from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from captum_shared.figures.neurons import best_encoded, why_none
from captum_shared.figures.page import draw_distributions, sentence_figure
from captum_shared.figures.tiles import SCALE, PairMaps, Tile, TileRow, common_scale, side_groups, tile_page
from captum_shared.study.result import Kind, NeuronResult, PairResult, StudyResult

KINDS: tuple[Kind, ...] = get_args(Kind)
_UNIT = "map, similarity per unit of the network's input"
_LARGE = 3  # up to so many neurons stand in one column
_HEADS = (("object", "map"), ("reference", "map"))
_PANELS_NOTE = (
    "For each neuron the object that drives it most, and its most similar reference, each beside its map (gradients). "
    f"All maps of the region are on one scale, {SCALE}. Responses are in the unit of the recording, similarity is "
    "neuron-specific."
)
_FAINT_NOTE = (
    "Strong: the object that drives the neuron most. Dissimilar: one that drives it, but whose best reference is the "
    "least similar. Weak: one that drives it least. Upper row: object; lower row: reference. All maps are on one "
    f"scale, {SCALE}. s: neuron-specific similarity. Intensity: mean of the two maps. Right: all pairs of all "
    "neurons, with median and quartiles."
)


def pair_panels_figure(result: StudyResult, region: str, *, per_figure: int = 12) -> Iterator[Figure]:
    """Draw for every neuron of a region the object that drives it most, and its reference, beside their maps.

    The best encoded neurons come first. All maps of the region, over all figures, share one scale. Beneath each pair
    stand the responses and the neuron-specific similarity.

    Args:
        result: a study.
        region: the region; empty if it has no name.
        per_figure: the most neurons in one figure.

    Returns:
        One figure after the other; a single one with a sentence if no neuron takes part.

    Raises:
        ValueError: if there is no such region, or ``per_figure`` is not positive.

    Example:
        >>> from pathlib import Path
        >>> study = StudyResult({}, {}, 0, (-0.2, 0.2), (-0.1, 0.1), (), Path("maps.npz"))
        >>> list(pair_panels_figure(study, "IT"))
        Traceback (most recent call last):
        ValueError: Expected a region of the study, got 'IT': it has none.
    """
    regions = list(dict.fromkeys(neuron.region for neuron in result.neurons))
    if region not in regions:
        known = ", ".join(map(repr, regions)) or "none"
        raise ValueError(f"Expected a region of the study, got {region!r}: it has {known}.")
    if per_figure < 1:
        raise ValueError(f"Expected at least one neuron in a figure, got per_figure={per_figure}: raise it.")
    return _pages(result, region, per_figure)


def faint_figure(result: StudyResult, *, n_neurons: int = 3) -> Figure:
    """Compare objects that drive a neuron and resemble its references with those that do not.

    For the best encoded neurons, the strongest object stands beside one that drives the neuron but has no similar
    reference, and beside one that hardly drives it, all maps on one scale. At the right are similarity and intensity
    of all pairs of all neurons.

    Args:
        result: a study.
        n_neurons: how many neurons to show.

    Returns:
        The figure; it holds a sentence if no neuron takes part.

    Raises:
        ValueError: if ``n_neurons`` is not positive.
    """
    if n_neurons < 1:
        raise ValueError(f"Expected at least one neuron to show, got n_neurons={n_neurons}: raise it.")
    neurons = [neuron for neuron in best_encoded(result.included) if neuron.pairs]
    if not neurons:
        return sentence_figure(why_none(result))
    neurons.sort(key=lambda neuron: -len({pair.kind for pair in neuron.pairs}))
    shown = {neuron.name: _by_kind(result, neuron) for neuron in neurons[:n_neurons]}
    norm = common_scale([list(kinds.values()) for kinds in shown.values()])
    rows = [row for name, kinds in shown.items() for row in _kind_rows(name, kinds, norm)]
    figure, summaries = tile_page(
        [rows], {_UNIT: norm}, title="Objects with and without a counterpart", note=_FAINT_NOTE, summaries=2
    )
    pairs = [pair for neuron in neurons for pair in neuron.pairs]
    for axes, measure in zip(summaries, ("similarity", "intensity"), strict=True):
        values: dict[str, list[float]] = {
            kind: [getattr(pair, measure) for pair in pairs if pair.kind == kind] for kind in KINDS
        }
        draw_distributions(axes, values, measure)
    return figure


def _pages(result: StudyResult, region: str, per_figure: int) -> Iterator[Figure]:
    neurons = best_encoded([neuron for neuron in result.included if neuron.region == region])
    strongest = [_by_kind(result, neuron).get("strong") for neuron in neurons]
    shown = [maps for maps in strongest if maps is not None]
    name = region or "Neurons"
    if not shown:
        yield sentence_figure(f"{name}: no neuron with a pair to show takes part.")
        return
    norm = common_scale([[maps] for maps in shown])
    starts = range(0, len(shown), per_figure)
    for page, start in enumerate(starts, start=1):
        rows = [_panel_row(maps, norm) for maps in shown[start : start + per_figure]]
        half = len(rows) if len(rows) <= _LARGE else (len(rows) + 1) // 2
        columns = [[replace(own[0], heads=_HEADS), *own[1:]] for own in (rows[:half], rows[half:]) if own]
        title = name if len(starts) == 1 else f"{name}, {page} of {len(starts)}"
        yield tile_page(columns, {_UNIT: norm}, title=title, note=_PANELS_NOTE)[0]


def _by_kind(result: StudyResult, neuron: NeuronResult) -> dict[Kind, PairMaps]:
    """The first pair of each kind that a neuron has."""
    first: dict[Kind, PairMaps] = {}
    for index, pair in enumerate(neuron.pairs):
        first.setdefault(pair.kind, PairMaps(result, neuron, index))
    return first


def _panel_row(maps: PairMaps, norm: Normalize) -> TileRow:
    pair = maps.pair
    captions = (
        f"response {pair.response:.3g}, similarity {pair.similarity:.2f}",
        f"response {pair.reference_response:.3g}",
    )
    return TileRow(side_groups([(maps, norm)]), captions, maps.neuron.name)


def _kind_rows(name: str, kinds: Mapping[Kind, PairMaps], norm: Normalize) -> tuple[TileRow, TileRow]:
    """A row of objects and a row of references, with one group for each kind."""
    empty: list[list[Tile]] = [[], []]
    groups = [side_groups([(kinds[kind], norm)]) if kind in kinds else empty for kind in KINDS]
    captions = [_measured(kinds[kind].pair) if kind in kinds else f"{kind}: none" for kind in KINDS]
    return TileRow([group[0] for group in groups], heading=name), TileRow([group[1] for group in groups], captions)


def _measured(pair: PairResult) -> str:
    return (
        f"{pair.kind}, s = {pair.similarity:.2f}\nresponse {pair.response:.3g}, "
        f"reference {pair.reference_response:.3g}\nintensity {pair.intensity:.2g}"
    )
