"""How far subjects agree, or regions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from captum_shared.figures.page import BLACK, FONT, new_figure, plain_text, shortened, wrapped
from captum_shared.study.concordance import Concordance

_COLOURS = "Blues"
_WRITTEN = 8  # up to so many groups have their numbers in the cells


@plain_text
def concordance_figure(compared: Concordance) -> Figure:
    """Draw how far groups of neurons agree: altogether, and in what they respond, in their references and their maps.

    At the left is the concordance, which is 1 for groups that hold the same kinds of neurons, with its 95 % interval;
    beside it is, of each thing that is compared, how alike a neuron of one group and one of another are, with two
    neurons of the same group on the diagonal, above which the others cannot be expected to be. Pairs of groups that
    differ beyond what noise lets one expect have an asterisk.

    Args:
        compared: the groups of a study (:attr:`~captum_shared.study.StudyResult.compared`).

    Returns:
        The figure.

    Example:
        >>> alike = {"maps": np.random.default_rng(0).random((6, 6))}
        >>> figure = concordance_figure(Concordance.of(alike, ["A", "B"] * 3, by="subject"))
        >>> [axes.get_title() for axes in figure.axes]
        ['concordance', 'maps: likeness']
    """
    panels = {name: np.asarray(matrix) for name, matrix in compared.likeness.items()}
    figure = new_figure(3.1, layout="constrained")
    first, *others = np.atleast_1d(figure.subplots(1, 1 + len(panels)))
    _draw(first, np.asarray(compared.concordance), _told_concordance(compared), highest=1.0)
    first.set_title("concordance", fontsize=8)
    for axes, (name, matrix) in zip(others, panels.items(), strict=True):
        _draw(axes, matrix, [[f"{value:.2f}" for value in row] for row in matrix], highest=float(matrix.max()))
        axes.set_title(f"{name}: likeness", fontsize=8)
    for axes in (first, *others):
        _name(axes, compared, across=True, down=axes is first)
    figure.supxlabel(wrapped(_note(compared)), fontsize=FONT)
    return figure


def _told_concordance(compared: Concordance) -> list[list[str]]:
    """Concordance and interval; the ceiling, which is 1, on the diagonal."""
    told = []
    for row, one in enumerate(compared.groups):
        cells = []
        for column, other in enumerate(compared.groups):
            value, high = compared.concordance[row][column], compared.high[row][column]
            mark = "*" if one != other and compared.differ(one, other) else ""
            cells.append("1" if one == other else f"{value:.2f}{mark}\n± {high - value:.2f}")
        told.append(cells)
    return told


def _draw(axes: Axes, matrix: np.ndarray, told: Sequence[Sequence[str]], *, highest: float) -> None:
    axes.imshow(matrix, cmap=_COLOURS, vmin=0, vmax=highest)
    if len(matrix) > _WRITTEN:
        return
    for row, cells in enumerate(told):
        for column, text in enumerate(cells):
            colour = "white" if matrix[row, column] > 0.6 * highest else BLACK
            size = FONT if len(matrix) <= 3 else 0.6 * FONT
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)


def _name(axes: Axes, compared: Concordance, *, across: bool, down: bool) -> None:
    positions = range(len(compared.groups))
    names = [shortened(name, 10) for name in compared.groups]
    rotation = 0 if len(names) <= 3 and max(map(len, names)) <= 6 else 90
    axes.set_xticks(positions, names if across else [], fontsize=FONT, rotation=rotation)
    counted = [f"{name} ({number})" for name, number in zip(names, compared.n_neurons, strict=True)]
    axes.set_yticks(positions, counted if down else [], fontsize=FONT)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _note(compared: Concordance) -> str:
    below = ", with its 95 % interval (jackknife over neurons)" if len(compared.groups) <= _WRITTEN else ""
    noisy = " All were made equally noisy before." if compared.matched else ""
    return (
        f"{compared.told} Concordance: how alike neurons of two {compared.by}s are, over how alike those of one are, "
        f"everything taken together{below}; 1 if both hold the same kinds of neurons. * less than 1, beyond what "
        "neurons dealt anew lead one to expect (5 % for all pairs together). Likeness: 1 of neurons whose profiles "
        f"correlate perfectly; on the diagonal, of two neurons of one {compared.by}, which is the ceiling. Numbers of "
        f"neurons in parentheses.{noisy}"
    )
