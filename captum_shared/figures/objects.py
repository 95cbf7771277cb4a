"""What drives each neuron from outside the preferred category, and what it resembles there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import get_args

from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from captum_shared.figures.neurons import best_encoded, named, why_none
from captum_shared.figures.page import draw_distributions, plain_text, sentence_figure
from captum_shared.figures.shown import PairMaps, common_scale, method_shown, scale_note, strength, unit
from captum_shared.figures.tiles import Tile, TileRow, side_groups, tile_page
from captum_shared.methods.method import Method
from captum_shared.study.result import Kind, NeuronResult, StudyResult

KINDS: tuple[Kind, ...] = get_args(Kind)
PER_FIGURE = 12
_LARGE = 3  # up to so many neurons stand in one column
_HEADS = (("object", "map"), ("reference", "map"))
_PANELS_NOTE = (
    "For each neuron the object that drives it most, and its most similar reference, each beside its map ({method}). "
    "All maps of the region are on one scale, {scale}. r: correlation of predicted and recorded responses on held-out "
    "images. {strength} Responses are in the unit of the recording, similarity is neuron-specific."
)
_FAINT_NOTE = (
    "Strong: the object that drives the neuron most. Dissimilar: one that drives it, but whose best reference is the "
    "least similar. Weak: one that drives it least. Upper row: object; lower row: reference. Maps: {method}, on one "
    "scale, {scale}. s: neuron-specific similarity. r: correlation of predicted and recorded responses on held-out "
    "images. {strength} Right: all pairs of all neurons, with median and quartiles."
)


def pair_panels_figure(
    result: StudyResult, region: str, *, method: str | None = None, per_figure: int = PER_FIGURE
) -> Iterator[Figure]:
    """Draw for every neuron of a region the object that drives it most, and its reference, beside their maps.

    The best encoded neurons come first. All maps of the region, over all figures, share one scale, which is the same
    for all studies if the maps sum to a share between 0 and 1. Beneath each pair stand the responses, the
    neuron-specific similarity and how much is shared.

    Args:
        result: a study.
        region: the region; empty if it has no name.
        method: which maps to show; None for the recommended ones or, if they are not in the study, its first.
        per_figure: the most neurons in one figure.

    Returns:
        One figure after the other; a single one with a sentence if no neuron takes part.

    Raises:
        ValueError: if there is no such region, no maps by this method, or ``per_figure`` is not positive.

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
    return (draw() for draw in panel_pages(result, region, method_shown(result, method), per_figure))


@plain_text
def faint_figure(result: StudyResult, *, method: str | None = None, n_neurons: int = 3) -> Figure:
    """Compare objects that drive a neuron and resemble its references with those that do not.

    For the best encoded neurons, the strongest object stands beside one that drives the neuron but has no similar
    reference, and beside one that hardly drives it, all maps on one scale. At the right are similarity and how much is
    shared (or, for methods that do not tell, the intensity of the maps) of all pairs of all neurons.

    Args:
        result: a study.
        method: which maps to show, as in :func:`pair_panels_figure`.
        n_neurons: how many neurons to show.

    Returns:
        The figure; it holds a sentence if no neuron takes part.

    Raises:
        ValueError: if there are no maps by this method, or ``n_neurons`` is not positive.
    """
    if n_neurons < 1:
        raise ValueError(f"Expected at least one neuron to show, got n_neurons={n_neurons}: raise it.")
    neurons = best_encoded(result.explained)
    if not neurons:
        return sentence_figure(why_none(result))
    neurons.sort(key=lambda neuron: -len({pair.kind for pair in neuron.pairs}))
    chosen = method_shown(result, method)
    shown = [_by_kind(result, neuron, chosen) for neuron in neurons[:n_neurons]]
    norm = common_scale([list(kinds.values()) for kinds in shown], chosen)
    rows = [row for kinds in shown for row in _kind_rows(kinds, norm)]
    note = _note(_FAINT_NOTE, chosen)
    title = "Objects with and without a counterpart"
    figure, summaries = tile_page([rows], {unit(chosen): norm}, title=title, note=note, summaries=2)
    pairs = [pair for neuron in neurons for pair in neuron.pairs]
    by_kind = {kind: [pair for pair in pairs if pair.kind == kind] for kind in KINDS}
    similarities: dict[str, list[float]] = {kind: [pair.similarity for pair in own] for kind, own in by_kind.items()}
    strengths: dict[str, list[float]] = {
        kind: [strength(pair, chosen) for pair in own] for kind, own in by_kind.items()
    }
    draw_distributions(summaries[0], similarities, "similarity")
    draw_distributions(summaries[1], strengths, "shared, of 1" if chosen.absolute else "intensity")
    return figure


def panel_pages(
    result: StudyResult, region: str, method: Method, per_figure: int = PER_FIGURE
) -> list[Callable[[], Figure]]:
    """Count the figures of :func:`pair_panels_figure`, to draw them one by one.

    Args:
        result: a study.
        region: the region.
        method: which maps to show.
        per_figure: the most neurons in one figure.

    Returns:
        For every figure a function that draws it.
    """
    neurons = best_encoded([neuron for neuron in result.explained if neuron.region == region])
    strongest = [_by_kind(result, neuron, method).get("strong") for neuron in neurons]
    shown = [maps for maps in strongest if maps is not None]
    name = region or "Neurons"
    if not shown:
        return [partial(plain_text(sentence_figure), f"{name}: no neuron with a pair to show takes part.")]
    norm = cache(lambda: common_scale([[maps] for maps in shown], method))
    starts = range(0, len(shown), per_figure)
    titles = [name if len(starts) == 1 else f"{name}, {page} of {len(starts)}" for page in range(1, 1 + len(starts))]
    return [
        partial(_page, shown[start : start + per_figure], norm, title=title)
        for start, title in zip(starts, titles, strict=True)
    ]


@plain_text
def _page(shown: Sequence[PairMaps], norm: Callable[[], Normalize], *, title: str) -> Figure:
    rows, method = [_panel_row(maps, norm()) for maps in shown], shown[0].method
    half = len(rows) if len(rows) <= _LARGE else (len(rows) + 1) // 2
    columns = [[replace(own[0], heads=_HEADS), *own[1:]] for own in (rows[:half], rows[half:]) if own]
    return tile_page(columns, {unit(method): norm()}, title=title, note=_note(_PANELS_NOTE, method))[0]


def _note(note: str, method: Method) -> str:
    strength = "Shared: the total of either map." if method.absolute else "Intensity: the mean of the two maps."
    return note.format(method=method.title, scale=scale_note(method), strength=strength)


def _by_kind(result: StudyResult, neuron: NeuronResult, method: Method) -> dict[Kind, PairMaps]:
    """The first pair of each kind that a neuron has."""
    first: dict[Kind, PairMaps] = {}
    for index, pair in enumerate(neuron.pairs):
        first.setdefault(pair.kind, PairMaps(result, neuron, index, method))
    return first


def _panel_row(maps: PairMaps, norm: Normalize) -> TileRow:
    pair = maps.pair
    captions = (
        f"response {pair.response:.3g}, similarity {pair.similarity:.2f}\n{maps.told_strength()}",
        f"response {pair.reference_response:.3g}",
    )
    return TileRow(side_groups([(maps, norm)]), captions, named(maps.neuron))


def _kind_rows(kinds: Mapping[Kind, PairMaps], norm: Normalize) -> tuple[TileRow, TileRow]:
    """A row of objects and a row of references, with one group for each kind."""
    empty: list[list[Tile]] = [[], []]
    groups = [side_groups([(kinds[kind], norm)]) if kind in kinds else empty for kind in KINDS]
    captions = [_measured(kinds[kind]) if kind in kinds else f"{kind}: none" for kind in KINDS]
    heading = named(next(iter(kinds.values())).neuron)
    return TileRow([group[0] for group in groups], heading=heading), TileRow([group[1] for group in groups], captions)


def _measured(maps: PairMaps) -> str:
    pair = maps.pair
    return (
        f"{pair.kind}, s = {pair.similarity:.2f}\nresponse {pair.response:.3g}, "
        f"reference {pair.reference_response:.3g}\n{maps.told_strength()}"
    )
