"""How well methods recover a known answer: one dot a method, with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_shared.figures.page import draw_legend, new_figure, plain_axes

_CHANCE: Final = {"answer_largest": 0.25, "intensity": 0.5}
_STYLES: Final = {  # Okabe and Ito's colours; the markers tell families apart without them
    "ours": ("#0072B2", "o"),
    "neuron": ("#D55E00", "s"),
    "similarity": ("#009E73", "^"),
    "second-order": ("#CC79A7", "D"),
    "trivial": ("#000000", "x"),
    "ceiling": ("#999999", "*"),
}


def benchmark_figure(result: Mapping[str, Any], scores: Sequence[str] = ("answer_largest", "mass")) -> Figure:
    """Draw the scores of all methods of a benchmark, best first.

    Args:
        result: what :func:`~captum_shared.evaluation.run_benchmark` returns.
        scores: which scores to draw, one panel each.

    Returns:
        The figure: dots are scores, lines their 95 % intervals over pairs, dotted lines chance where it is known.

    Raises:
        ValueError: if no method has one of the scores.

    Example:
        >>> score = {"value": 0.5, "low": 0.4, "high": 0.6}
        >>> entry = {"name": "mine", "family": "ours", "scores": {"mass": score}, "seconds_per_pair": 0.1}
        >>> len(benchmark_figure({"task": "grid", "methods": [entry]}, ["mass"]).axes)
        1
    """
    methods = result["methods"]
    missing = [score for score in scores if not any(_has(method, score) for method in methods)]
    if missing:
        raise ValueError(f"No method has the scores {', '.join(missing)}: run the benchmark with them.")
    figure = new_figure(0.9 + 0.19 * len(methods), layout="constrained")
    panels = figure.subplots(1, len(scores), sharey=True, squeeze=False)[0]
    for axes, score in zip(panels, scores, strict=True):
        _draw(axes, methods, score)
    panels[0].set_yticks(range(len(methods)), [method["name"] for method in methods], fontsize=7)
    panels[0].set_ylim(len(methods) - 0.5, -0.5)
    draw_legend(figure, panels)
    return figure


def _draw(axes: Axes, methods: Sequence[Mapping[str, Any]], score: str) -> None:
    for family, (colour, marker) in _STYLES.items():
        own = [(place, method["scores"][score]) for place, method in enumerate(methods) if _has(method, score, family)]
        if own:
            places, found = zip(*own, strict=True)
            values = [each["value"] for each in found]
            errors = [  # of equal numbers the mean of a resampling differs by rounding, to either side
                [max(0.0, each["value"] - each["low"]) for each in found],
                [max(0.0, each["high"] - each["value"]) for each in found],
            ]
            axes.errorbar(
                values, places, xerr=errors, fmt=marker, color=colour, markersize=4, linewidth=1, label=family
            )
    if score in _CHANCE:
        axes.axvline(_CHANCE[score], color="grey", linestyle=":", linewidth=1)
    axes.set_xlabel(score.replace("_", " "), fontsize=8)
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    plain_axes(axes)


def _has(method: Mapping[str, Any], score: str, family: str | None = None) -> bool:
    entry = method["scores"].get(score)
    return entry is not None and entry["value"] is not None and family in (None, method["family"])
