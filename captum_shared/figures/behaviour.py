"""How a behavioural measure goes with what the neurons of a study make of the images."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_shared.figures.page import (
    BLUE,
    FONT,
    VERMILLION,
    draw_legend,
    new_figure,
    plain_axes,
    plain_text,
    sentence_figure,
    shortened,
    wrapped,
)
from captum_shared.study.behaviour import MEASURES, Behaviour
from captum_shared.study.result import StudyResult

_TOLD = 6  # up to so many relations are told below


@plain_text
def behaviour_figure(result: StudyResult) -> Figure:
    """Draw a behavioural measure of images against what the neurons make of them, all neurons taken together.

    One panel each for predicted responses, the similarity of an image to its reference and the agreement of their maps,
    as far as there are any; a point is an image, or, of behaviour that is of pairs, an image with one reference.

    Args:
        result: a study with behaviour.

    Returns:
        The figure; it holds a sentence if there is no behaviour, or nothing to draw.

    Example:
        >>> from pathlib import Path
        >>> points = {"response": (("body", 0.5, 310.0), ("object", -0.5, 290.0))}
        >>> behaviour = Behaviour("times.csv", (), (), points)
        >>> study = StudyResult({}, {}, 0, (0.0, 0.0), (0.0, 0.0), (), Path("maps.npz"), behaviour=behaviour)
        >>> behaviour_figure(study).axes[0].get_ylabel()
        'times.csv'
    """
    behaviour = result.behaviour
    drawn = [] if behaviour is None else [name for name in MEASURES if behaviour.points.get(name)]
    if behaviour is None or not drawn:
        return sentence_figure("There is no behaviour to compare the neurons of this study with.")
    figure = new_figure(3.6, layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, len(drawn), sharey=True))
    for axes, name in zip(panels, drawn, strict=True):
        _draw(axes, behaviour, name, str(result.settings.get("preferred", "")))
    panels[0].set_ylabel(shortened(behaviour.name, 30), fontsize=FONT)
    draw_legend(figure, panels)
    figure.supxlabel(wrapped(_note(behaviour)), fontsize=FONT)
    return figure


def _draw(axes: Axes, behaviour: Behaviour, name: str, preferred: str) -> None:
    plain_axes(axes)
    points = behaviour.points[name]
    size = 4.0 if len(points) <= 200 else 2.0
    for label, inside, colour, marker in (
        (shortened(preferred, 30) or "preferred category", True, BLUE, "o"),
        ("other categories", False, VERMILLION, "D"),
    ):
        own = [(x, y) for category, x, y in points if (category == preferred) is inside]
        if own:
            axes.plot(
                *zip(*own, strict=True),
                marker,
                color=colour,
                markersize=size,
                markeredgewidth=0,
                alpha=0.7,
                label=label,
            )
    axes.set_xlabel(MEASURES[name], fontsize=FONT)
    of_all = [each for each in behaviour.relations if each.measure == name][:1]
    if of_all and not np.isnan(of_all[0].correlation):
        axes.set_title(f"r = {of_all[0].correlation:.2f}, {of_all[0].told_p}", fontsize=8)


def _note(behaviour: Behaviour) -> str:
    told = "; ".join(behaviour.told[:_TOLD])
    told += f"; and {len(behaviour.told) - _TOLD} more in study.json" if len(behaviour.told) > _TOLD else ""
    return (
        f"Rank correlations within categories, so that what categories differ in has no part in them; p by dealing the "
        f"behaviour anew within categories, corrected for all that is told: {told}. Predicted responses are "
        "standardised, similarity and agreement taken from the mean of each neuron."
    )
