"""How well methods recover a known answer: one dot a method, with its interval."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_shared._record import keep
from captum_shared._resuming import digest, versions
from captum_shared.evaluation.result import table
from captum_shared.evaluation.scores.records import SCORES
from captum_shared.figures.output import save_figure
from captum_shared.figures.page import draw_legend, new_figure, plain_axes, plain_text

_STYLES: Final = {  # Okabe and Ito's colours; the markers tell families apart without them
    "ours": ("#0072B2", "o"),
    "neuron": ("#D55E00", "s"),
    "similarity": ("#009E73", "^"),
    "second-order": ("#CC79A7", "D"),
    "trivial": ("#000000", "x"),
    "ceiling": ("#999999", "*"),
}


@plain_text
def benchmark_figure(result: Mapping[str, Any], scores: Sequence[str] = ("answer_largest", "mass")) -> Figure:
    """Draw the scores of all methods of a benchmark, best first.

    Args:
        result: what :func:`~captum_shared.evaluation.run_benchmark` returns.
        scores: names of the scores to draw, one panel each.

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


def save_benchmark(result: Mapping[str, Any], folder: str | Path) -> str:
    """Write a benchmark as a table in Markdown, ``table.md``, and as a figure, ``figure.png``.

    Args:
        result: what :func:`~captum_shared.evaluation.run_benchmark` returns.
        folder: where to; what was drawn of the same benchmark before and is whole is left as it is.

    Returns:
        The table.
    """
    written, source = table(result), digest([json.dumps(result).encode(), *map(str.encode, _drawn_with())])
    files: dict[str, Callable[[Path], object]] = {
        "table.md": lambda path: path.write_text(written + "\n", encoding="utf-8"),
        "figure.png": lambda path: save_figure(benchmark_figure(result), path),
    }
    keep(Path(folder), files, of=source)
    return written


def _drawn_with() -> list[str]:
    return [*versions("captum-shared", "matplotlib").values()]


def _draw(axes: Axes, methods: Sequence[Mapping[str, Any]], name: str) -> None:
    for family, (colour, marker) in _STYLES.items():
        own = [(row, method["scores"][name]) for row, method in enumerate(methods) if _has(method, name, family)]
        if own:
            rows, intervals = zip(*own, strict=True)
            values = [interval["value"] for interval in intervals]
            errors = [  # of equal numbers the mean of a resampling differs by rounding, to either side
                [max(0.0, interval["value"] - interval["low"]) for interval in intervals],
                [max(0.0, interval["high"] - interval["value"]) for interval in intervals],
            ]
            axes.errorbar(values, rows, xerr=errors, fmt=marker, color=colour, markersize=4, linewidth=1, label=family)
    score = SCORES[name]
    if score.chance is not None:
        axes.axvline(score.chance, color="grey", linestyle=":", linewidth=1)
    axes.set_xlabel(score.heading, fontsize=8)
    axes.grid(axis="y", color="0.9", linewidth=0.5)
    axes.set_axisbelow(True)
    plain_axes(axes)


def _has(method: Mapping[str, Any], score: str, family: str | None = None) -> bool:
    entry = method["scores"].get(score)
    return entry is not None and entry["value"] is not None and family in (None, method["family"])
