"""How well every neuron is encoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_shared.figures.neurons import (
    by_region,
    draw_left_out,
    label_neurons,
    mark_size,
    name_regions,
    numbers,
    preferred,
    reasons,
    slots,
    why_none,
)
from captum_shared.figures.page import (
    BLACK,
    BLUE,
    FONT,
    GREY,
    ORANGE,
    VERMILLION,
    draw_legend,
    new_figure,
    plain_axes,
    plain_text,
    sentence_figure,
    shortened,
    wrapped,
)
from captum_shared.study.result import NeuronResult, StudyResult

_BAND = "0.85"


@dataclass(frozen=True)
class _Judgement:
    """On which images the encoding is judged, and how that is drawn."""

    images: str
    title: str
    correlation: str
    reliability: str
    ceiling: str
    interval: tuple[float, float]
    colour: str
    marker: str

    @property
    def drawn(self) -> tuple[tuple[str, str, str, float], ...]:
        """What stands at every neuron besides the correlation: name, label, colour and width of the mark."""
        return (self.reliability, "reliability", BLACK, 1.2), (self.ceiling, "ceiling of the correlation", ORANGE, 1.2)


@plain_text
def encoding_figure(result: StudyResult) -> Figure:
    """Draw how well every neuron is encoded, on the preferred category and on the others.

    Above is the correlation of predicted and recorded responses on held-out images of the preferred category; below,
    on images of other categories, never trained on. With both stand the neuron's reliability, the ceiling that it sets
    to the correlation, and, shaded, what holds 95 % of the correlations of neurons that nothing predicts. Neurons that
    are predicted no better than by chance are hollow. At the right are the means over the neurons that take part, with
    their standard error. Neurons stand in the same order in both, the best first in each region.

    Args:
        result: a study.

    Returns:
        The figure; it holds a sentence if no neuron takes part.

    Example:
        >>> from pathlib import Path
        >>> neuron = NeuronResult("A", "IT", "", "", 0.6, 0.4, 0.8, 0.7, 30.0, 10.0)
        >>> study = StudyResult({"preferred": "body"}, {}, 0, (-0.2, 0.2), (-0.1, 0.1), (neuron,), Path("maps.npz"))
        >>> [axes.get_title(loc="left") for axes in encoding_figure(study).axes[::2]]
        ['preferred category: body', 'other categories']
    """
    if not result.included:
        return sentence_figure(why_none(result))
    figure, judgements, groups = new_figure(5.2, layout="constrained"), _judgements(result), _mean_groups(result)
    width_ratios = (1, min(0.06 * len(groups) + 0.02, 0.3))
    grid = figure.subplots(2, 2, sharex="col", sharey=True, width_ratios=width_ratios)
    for (neurons, means), judgement in zip(grid, judgements, strict=True):
        _draw_correlations(neurons, result, judgement)
        _draw_means(means, groups, judgement)
        neurons.set_title(judgement.title, fontsize=8, loc="left", pad=14 if neurons is grid[0, 0] else 4)
        neurons.set_ylabel("correlation", fontsize=FONT)
    grid[0, 1].set_title("means", fontsize=8, loc="left", pad=14)
    name_regions(grid[0, 0], by_region(result))
    label_neurons(grid[1, 0], by_region(result))
    grid[0, 0].set_ylim(_lowest(result, judgements), 1.05)
    draw_legend(figure, grid[:, 0], columns=4)
    figure.supxlabel(wrapped(_note(result, judgements)), fontsize=FONT)
    return figure


def _judgements(result: StudyResult) -> tuple[_Judgement, _Judgement]:
    inside, outside, category = "held-out images", "other categories", preferred(result)
    title = f"preferred category: {category}" if category else "preferred category"
    return (
        _Judgement(
            inside,
            title,
            "heldout_correlation",
            "reliability",
            "ceiling",
            interval=result.null_interval,
            colour=BLUE,
            marker="o",
        ),
        _Judgement(
            outside,
            outside,
            "ooc_correlation",
            "ooc_reliability",
            "ooc_ceiling",
            interval=result.ooc_null_interval,
            colour=VERMILLION,
            marker="D",
        ),
    )


def _draw_correlations(axes: Axes, result: StudyResult, judgement: _Judgement) -> None:
    positions, size = slots(by_region(result)), mark_size(result)
    groups = {
        judgement.images: ([neuron for neuron in result.included if not neuron.unpredicted], "full"),
        "predicted no better than by chance": ([neuron for neuron in result.included if neuron.unpredicted], "none"),
    }
    for label, (neurons, fill) in groups.items():
        axes.plot(
            [positions[neuron.name] for neuron in neurons],
            numbers(neurons, judgement.correlation),
            judgement.marker,
            color=judgement.colour,
            markersize=0.8 * size,
            markeredgewidth=0 if fill == "full" else 0.6,
            fillstyle=fill,
            label=label if neurons else None,
        )
    included = [positions[neuron.name] for neuron in result.included]
    for name, label, colour, width in judgement.drawn:
        values = numbers(result.included, name)
        if not np.isnan(values).all():
            style: dict[str, Any] = {"color": colour, "markersize": width * size, "markeredgewidth": 1, "zorder": 1.9}
            axes.plot(included, values, "_", label=label, **style)
    _draw_interval(axes, judgement)
    draw_left_out(axes, result, result.included)


def _draw_means(axes: Axes, groups: dict[str, Sequence[NeuronResult]], judgement: _Judgement) -> None:
    for column, neurons in enumerate(groups.values()):
        known = ((judgement.correlation, -0.2, judgement.marker, judgement.colour),)
        for name, shift, style, colour in known + tuple(
            (name, 0.2, "_", colour) for name, _, colour, _ in judgement.drawn
        ):
            mean, error, n_known = _mean(neurons, name)
            if n_known:
                bar = None if np.isnan(error) else error
                axes.errorbar(column + shift, mean, bar, fmt=style, color=colour, markersize=3, linewidth=1)
    _draw_interval(axes, judgement)
    labels = [f"{shortened(name, 12)} ({len(neurons)})" for name, neurons in groups.items()]
    axes.set_xticks(range(len(groups)), labels, rotation=90, fontsize=FONT)
    axes.set_xlim(-0.6, len(groups) - 0.4)


def _draw_interval(axes: Axes, judgement: _Judgement) -> None:
    plain_axes(axes)
    axes.axhspan(*judgement.interval, color=_BAND, linewidth=0, zorder=0, label="null interval (95 %)")
    axes.axhline(0, color=GREY, linewidth=0.5, zorder=0.5)


def _mean_groups(result: StudyResult) -> dict[str, Sequence[NeuronResult]]:
    """The neurons that take part, by region if there are several, and all of them."""
    groups: dict[str, Sequence[NeuronResult]] = {
        region: taking_part
        for region, neurons in by_region(result).items()
        if (taking_part := [neuron for neuron in neurons if not neuron.excluded])
    }
    return {**(groups if len(groups) > 1 else {}), "all": result.included}


def _lowest(result: StudyResult, judgements: Sequence[_Judgement]) -> float:
    names = [name for judgement in judgements for name in (judgement.correlation, judgement.reliability)]
    drawn = [judgement.interval[0] for judgement in judgements]
    drawn += [float(value) for name in names for value in numbers(result.included, name)]
    return max(float(np.nanmin([0.0, *drawn])) - 0.15, -1.05)


def _note(result: StudyResult, judgements: Sequence[_Judgement]) -> str:
    """The means in numbers, what is left out of them, and what the marks are."""
    means, unknown = [], []
    for judgement in judgements:
        for name, label in (
            (judgement.correlation, "correlation"),
            (judgement.reliability, "reliability"),
            (judgement.ceiling, "ceiling"),
        ):
            mean, error, n_known = _mean(result.included, name)
            what, missing = f"{label}, {judgement.images}", len(result.included) - n_known
            spread = f"\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{error:.2f}" if n_known > 1 else ""
            means += [f"{mean:.2f}{spread} ({what})"] if n_known else []
            unknown += [f"{missing} ({what})"] if 0 < missing < len(result.included) else []
    note = f"Means over the neurons that take part (n = {len(result.included)}), ± standard error: {', '.join(means)}."
    note += f" Unknown and left out: {', '.join(unknown)}." if unknown else ""
    return f"{note} Excluded: {reasons(result.neurons)}. {_told_chance(result)}{_told_reliability(result)}"


def _told_chance(result: StudyResult) -> str:
    unpredicted = sum(neuron.unpredicted for neuron in result.included)
    if all(np.isnan(neuron.null_interval[1]) for neuron in result.included):
        return ""
    shown = "explained all the same" if result.settings.get("all_neurons") else "which have no maps"
    return (
        f"Predicted no better than by chance: {unpredicted} of {len(result.included)}, {shown}. Of neurons that "
        "nothing predicts 2.5 % lie above the shaded interval, each tested by itself. "
    )


def _told_reliability(result: StudyResult) -> str:
    """What the reliability is of, which depends on the recording."""
    phases = result.settings.get("phases", 1)
    if phases > 1:
        return (
            "Reliability: correlation of two phases, which is that of a single one and no ceiling. Ceiling: what the "
            f"best predictions of the mean of {phases} phases can reach, the root of its reliability."
        )
    if result.settings.get("halves"):
        return (
            "Reliability: correlation of two halves of the repetitions, corrected to all of them (Spearman-Brown), "
            "which is no ceiling. Ceiling: its root, which the best predictions can reach."
        )
    if result.settings.get("published_reliability"):
        return (
            "Reliability: as published with the recording, of images of any category, which is no ceiling. Ceiling: "
            "its root, which the best predictions can reach."
        )
    return ""


def _mean(neurons: Sequence[NeuronResult], name: str) -> tuple[float, float, int]:
    """Mean of the numbers that are known, its standard error, and how many they are."""
    values = numbers(neurons, name)
    known = values[~np.isnan(values)]
    mean = float(known.mean()) if len(known) else np.nan
    error = float(known.std(ddof=1) / len(known) ** 0.5) if len(known) > 1 else np.nan
    return mean, error, len(known)
