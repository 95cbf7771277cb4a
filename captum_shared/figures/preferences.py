"""Synthetic neurons that prefer a category, and what every method finds in a photograph of another one."""

import itertools
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from numpy import ndarray

from captum_shared.evaluation.tasks.preferences import CategoryNeuron, MethodMaps, Photograph
from captum_shared.figures.overlay import colour_bar, draw_overlay, draw_picture, scale
from captum_shared.figures.page import (
    CHARACTERS,
    FONT,
    GREY,
    LINE,
    WIDTH,
    new_figure,
    place,
    plain_text,
    shortened,
    wrapped,
    write,
)

_MARGIN = 0.1  # inches, like all that follow
_GAP = 0.03
_GROUP_GAP = 0.12
_LABEL_GAP = 0.18
_NEURON_GAP = 0.12
_TEXT = 1.25
_TILE = 0.45, 0.7  # the least and the most
_TITLE = 0.3
_HEADS = 3.6 * LINE
_BAR = 0.45
_TEXT_LENGTH = 18
_LINES = 9.5  # of text, a neuron
_TOP = 0.99  # of the pixels of both maps: some maps are peaked, and their peaks would hide the rest
_UNIT = "map, as a share of what 1 % of the pixels of the pair exceed"
_FAMILIES = {
    "ours": "the features that both images share",
    "neuron": "the response to each image alone",
    "similarity": "the similarity of the pair",
    "second-order": "pairs of places",
    "trivial": "no network",
}
_NOTE = (
    "Each neuron was simulated to prefer one category; none of the photographs shown was used to fit it. Image: the "
    "photograph outside the category with the highest predicted response, and the category it is from. Reference: the "
    "most similar one among the drivers in the preferred category. Responses are predicted; those to its category and "
    "to all others are means. Selectivity: probability that a photograph of the category is predicted to drive the "
    "neuron more than one of another (AUROC). The two maps of a pair are on one scale, from zero to what "
    "1 % of their pixels exceed; white lines: half of it."
)


@dataclass(frozen=True)
class _Columns:
    """Where the columns of tiles are, in inches: the examples, the pair, and every method."""

    lefts: list[float]
    side: float

    @property
    def width(self) -> float:
        return self.lefts[-1] + self.side + _MARGIN

    @property
    def height(self) -> float:
        return max(2 * self.side + _GAP, _LINES * LINE)

    def line(self, top: float, line: int) -> float:
        return top + line * (self.side + _GAP)

    @classmethod
    def of(cls, families: Sequence[str]) -> "_Columns":
        """Make room for the methods of these families, one a column."""
        groups = ["examples", "pair", *families]
        gaps = [_LABEL_GAP, _LABEL_GAP, *(_GAP if a == b else _GROUP_GAP for a, b in itertools.pairwise(groups[1:]))]
        left = _MARGIN + _TEXT
        room = (WIDTH - _MARGIN - left - sum(gaps)) / len(groups)
        side = min(max(room, _TILE[0]), _TILE[1])
        return cls([left + gap + column * side for column, gap in enumerate(itertools.accumulate(gaps))], side)


@plain_text
def preferences_figure(neurons: Sequence[CategoryNeuron]) -> Figure:
    """Draw for each neuron examples of what it prefers, and the image and its reference beside the maps of all methods.

    The two maps of a pair by a method are on one scale, from zero to what 1 % of their pixels exceed, which differs
    between methods and pairs. The figure is as wide as the page, or wider if there are many methods.

    Args:
        neurons: of :func:`~captum_shared.evaluation.tasks.category_neurons`, at least one.

    Returns:
        The figure.

    Raises:
        ValueError: if there is no neuron, or the neurons have maps of different methods.

    Example:
        >>> preferences_figure([])
        Traceback (most recent call last):
        ValueError: Expected at least one neuron to draw, got none.
    """
    if not neurons:
        raise ValueError("Expected at least one neuron to draw, got none.")
    methods = [(maps.method, maps.family) for maps in neurons[0].maps]
    for neuron in neurons:
        if [(maps.method, maps.family) for maps in neuron.maps] != methods:
            raise ValueError(f"Expected maps of the same methods, but {neuron.category} has others than the first one.")
    columns = _Columns.of([family for _, family in methods])
    note, top = wrapped(_NOTE + _explained(dict(methods).values())), _TITLE + _HEADS
    bottom = top + len(neurons) * (columns.height + _NEURON_GAP)
    figure = new_figure(bottom + _BAR + LINE * (note.count("\n") + 1) + _MARGIN)
    figure.set_figwidth(max(columns.width, WIDTH))
    write(figure, "Neurons that prefer a category", _MARGIN, _MARGIN / 2, fontsize=9, weight="bold")
    _draw_heads(figure, columns, methods)
    for row, neuron in enumerate(neurons):
        _draw_neuron(figure, neuron, columns, top + row * (columns.height + _NEURON_GAP))
    bar = place(figure, columns.lefts[0], bottom + LINE, width=1.5, height=0.1)
    colour_bar(figure, scale(1.0), cax=bar).ax.set_title(_UNIT, fontsize=FONT, pad=2, loc="left")
    write(figure, note, _MARGIN, bottom + _BAR)
    return figure


def _draw_heads(figure: Figure, columns: _Columns, methods: Sequence[tuple[str, str]]) -> None:
    """Name what each column shows, and above the methods of a family the family."""
    names = ["examples", "pair", *(name.removeprefix(f"{family}-") for name, family in methods)]
    for name, left in zip(names, columns.lefts, strict=True):
        lines = textwrap.wrap(name, math.ceil(CHARACTERS * columns.side), max_lines=2, placeholder="…")
        write(figure, "\n".join(lines), left + columns.side / 2, _TITLE + _HEADS - _GAP, ha="center", va="bottom")
    for family, members in itertools.groupby(zip(methods, columns.lefts[2:], strict=True), lambda each: each[0][1]):
        lefts = [left for _, left in members]
        width = lefts[-1] - lefts[0] + columns.side
        label = shortened(family, int(CHARACTERS * width))
        write(figure, label, lefts[0] + width / 2, _TITLE, ha="center", weight="bold")
        rule = place(figure, lefts[0], _TITLE + 1.2 * LINE, width=width, height=LINE / 2)
        rule.axhline(1, color=GREY, linewidth=1)
        rule.set_axis_off()


def _draw_neuron(figure: Figure, neuron: CategoryNeuron, columns: _Columns, top: float) -> None:
    write(figure, shortened(neuron.category, _TEXT_LENGTH), _MARGIN, top, weight="bold", fontsize=8)
    for line, (name, value) in enumerate(_measured(neuron).items()):
        write(figure, name, _MARGIN, top + (line + 1.4) * LINE)
        write(figure, value, _MARGIN + _TEXT, top + (line + 1.4) * LINE, ha="right")
    examples, pair, *methods = columns.lefts
    size = {"width": columns.side, "height": columns.side}
    for line, example in enumerate(neuron.examples[:2]):
        draw_picture(place(figure, examples, columns.line(top, line), **size), _array(example))
    for line, (side, photograph) in enumerate((("image", neuron.image), ("reference", neuron.reference))):
        above, picture = columns.line(top, line), _array(photograph)
        write(figure, side, pair - _GAP, above + columns.side / 2, rotation=90, ha="right", va="center")
        draw_picture(place(figure, pair, above, **size), picture)
        for left, maps in zip(methods, neuron.maps, strict=True):
            norm = scale(_top(maps))
            draw_overlay(place(figure, left, above, **size), picture, getattr(maps, side).float().numpy(), norm)


def _top(maps: MethodMaps) -> float:
    """Upper end of the scale; the maximum where fewer pixels than that are above zero."""
    both = np.concatenate([maps.image.flatten().numpy(), maps.reference.flatten().numpy()])
    return float(np.quantile(both, _TOP)) or float(both.max())


def _measured(neuron: CategoryNeuron) -> dict[str, str]:
    """What was measured, by its name; headings have no value."""
    return {
        "selectivity": f"{neuron.selectivity:.2f}",
        "similarity of the pair": f"{neuron.similarity:.2f}",
        "responses, spikes/s": "",
        "  its category": f"{neuron.mean_preferred:.1f}",
        "  all others": f"{neuron.mean_other:.1f}",
        "  reference": f"{neuron.reference.response:.1f}",
        "  image": f"{neuron.image.response:.1f}",
        f"    ({shortened(neuron.image.category, _TEXT_LENGTH)})": "",
    }


def _explained(families: Iterable[str]) -> str:
    """Say what the methods of each family look at."""
    known = [f"{family}, {_FAMILIES[family]}" for family in dict.fromkeys(families) if family in _FAMILIES]
    return f" Methods explain: {'; '.join(known)}." if known else ""


def _array(photograph: Photograph) -> Float[ndarray, "row column channel"]:
    picture: ndarray = photograph.picture.permute(1, 2, 0).float().numpy()
    return picture
