"""How strongly the shown objects drive every neuron."""

from collections.abc import Sequence
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
    slots,
    why_none,
)
from captum_shared.figures.page import (
    BLACK,
    BLUE,
    FONT,
    GREY,
    ORANGE,
    draw_legend,
    new_figure,
    plain_axes,
    plain_text,
    sentence_figure,
)
from captum_shared.study.result import NeuronResult, StudyResult


@plain_text
def response_figure(result: StudyResult) -> Figure:
    """Compare the responses to the shown objects with the neuron's mean responses.

    Above are, for each neuron, its responses to the objects of its strong pairs and its mean responses to the
    preferred category and to the others. Below is every such object against either mean: above the diagonal, it
    drives the neuron more than the mean does.

    Args:
        result: a study.

    Returns:
        The figure; it holds a sentence if no neuron is explained.

    Example:
        >>> from pathlib import Path
        >>> from captum_shared.study.result import PairResult
        >>> mug = PairResult("strong", "mug", "hand", 21.0, 30.0, 0.6, 0.31)
        >>> neuron = NeuronResult("A", "IT", "", "", 0.6, 0.4, 0.8, 0.7, 30.0, 10.0, (), (mug,))
        >>> study = StudyResult({"preferred": "body"}, {}, 0, (-0.2, 0.2), (-0.1, 0.1), (neuron,), Path("maps.npz"))
        >>> [axes.get_title(loc="left") for axes in response_figure(study).axes[1:]]
        ['1 of 1 objects above the mean', '0 of 1 objects above the mean']
    """
    if not result.explained:
        return sentence_figure(why_none(result))
    category = f"preferred category{f' ({preferred(result)})' if preferred(result) else ''}"
    means = {"ooc_mean": "other categories", "preferred_mean": category}
    figure = new_figure(5.6, layout="constrained")
    axes = figure.subplot_mosaic([["neurons", "neurons"], [*means]])
    _draw_responses(axes["neurons"], result, means)
    for mean, label in means.items():
        _draw_against(axes[mean], result.explained, mean, label)
    draw_legend(figure, [axes["neurons"]], columns=4)
    return figure


def _draw_responses(axes: Axes, result: StudyResult, means: dict[str, str]) -> None:
    positions, size = slots(by_region(result)), mark_size(result)
    shown = [(positions[neuron.name], response) for neuron in result.explained for response in _shown(neuron)]
    axes.plot(*_points(shown).T, "o", color=BLUE, markersize=size, markeredgewidth=0, label="shown objects")
    across = np.asarray([positions[neuron.name] for neuron in result.explained])
    styles: tuple[dict[str, Any], ...] = (
        {"marker": "s", "color": BLACK, "fillstyle": "none", "markeredgewidth": 0.6},
        {"marker": "^", "color": ORANGE, "markeredgewidth": 0},
    )
    for (mean, label), shift, style in zip(means.items(), (-0.2, 0.2), styles, strict=True):
        values = numbers(result.explained, mean)
        axes.plot(across + shift, values, linestyle="", markersize=size, label=f"mean, {label}", **style)
    plain_axes(axes)
    draw_left_out(axes, result, result.explained)
    name_regions(axes, by_region(result))
    label_neurons(axes, by_region(result))
    axes.set_ylabel("response, in the unit of the recording", fontsize=FONT)


def _draw_against(axes: Axes, neurons: Sequence[NeuronResult], mean: str, label: str) -> None:
    points = _points([(getattr(neuron, mean), response) for neuron in neurons for response in _shown(neuron)])
    axes.plot(*points.T, "o", color=BLUE, markersize=3, markeredgewidth=0.4, markeredgecolor="white")
    ends = (points.min(), points.max()) if len(points) else (0.0, 1.0)
    axes.plot(ends, ends, color=GREY, linewidth=0.8, linestyle="--")
    above = int((points[:, 1] > points[:, 0]).sum())
    plain_axes(axes)
    axes.set_title(f"{above} of {len(points)} objects above the mean", fontsize=FONT, loc="left")
    axes.set_xlabel(f"mean response, {label}", fontsize=FONT)
    axes.set_ylabel("response to a shown object", fontsize=FONT)


def _points(values: Sequence[tuple[float, float]]) -> np.ndarray:
    """The points whose coordinates are both known."""
    points = np.asarray(values, dtype=np.float64).reshape(-1, 2)
    return points[~np.isnan(points).any(axis=1)]


def _shown(neuron: NeuronResult) -> list[float]:
    return [pair.response for pair in neuron.pairs if pair.kind == "strong"]
