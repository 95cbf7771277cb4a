"""The page that the figures of a study are drawn for: a width, a type, colours that everybody can tell apart."""

import functools
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

_P = ParamSpec("_P")

WIDTH = 7.0  # inches: figures are printed as wide as a page of two columns
FONT = 7.0  # points at that width
CHARACTERS = 18  # of that type, an inch
LINE = 0.13  # inches
BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, GREY = (  # Okabe and Ito, and a grey
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#0072B2",
    "#D55E00",
    "#8A8A8A",
)


def plain_text(draw: Callable[_P, Figure]) -> Callable[_P, Figure]:
    """Draw names as they are: a dollar in one begins no formula, and bytes that are no text are spelled out.

    Args:
        draw: a function that makes a figure.

    Returns:
        The function.

    Example:
        >>> figure = plain_text(sentence_figure)("It costs 3 $ or 4 $.")
        >>> figure.texts[0].get_text(), figure.texts[0].get_parse_math()
        ('It costs 3 $ or 4 $.', False)
    """

    @functools.wraps(draw)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> Figure:
        with rc_context({"text.parse_math": False, "text.usetex": False}):
            figure = draw(*args, **kwargs)
        for text in figure.findobj(Text):
            text.set_text(spelled(text.get_text()))
        return figure

    return wrapper


def spelled(text: str) -> str:
    r"""Spell out bytes that are no text, as names of files may have them.

    Args:
        text: the text.

    Returns:
        The same where it can be drawn.

    Example:
        >>> spelled("caf\udce9")
        'caf\\udce9'
    """
    return text.encode(errors="backslashreplace").decode()


def new_figure(height: float, *, layout: str | None = None) -> Figure:
    """Make an empty figure.

    Args:
        height: in inches.
        layout: as in matplotlib.

    Returns:
        A figure as wide as the page.
    """
    return Figure(figsize=(WIDTH, height), dpi=200, layout=layout)  # type: ignore[arg-type]


def sentence_figure(sentence: str) -> Figure:
    """Make a figure that says why there is nothing to see.

    Args:
        sentence: the reason.

    Returns:
        The figure.

    Example:
        >>> sentence_figure("No neuron takes part.").texts[0].get_text()
        'No neuron takes part.'
    """
    figure = new_figure(1.2)
    figure.text(0.5, 0.5, textwrap.fill(sentence, 90), ha="center", va="center", fontsize=9)
    return figure


def write(figure: Figure, text: str, left: float, top: float, **style: object) -> None:
    """Write text at a place of a figure.

    Args:
        figure: the figure.
        text: the text.
        left: inches from the left.
        top: inches from the top.
        **style: as in ``Figure.text``.
    """
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, text, **{"fontsize": FONT, "va": "top", **style})  # type: ignore[arg-type]


def place(figure: Figure, left: float, top: float, *, width: float, height: float) -> Axes:
    """Put axes at a place of a figure.

    Args:
        figure: the figure.
        left: inches from the left.
        top: inches from the top.
        width: in inches.
        height: in inches.

    Returns:
        The axes.
    """
    across, down = figure.get_size_inches()
    return figure.add_axes((left / across, 1 - (top + height) / down, width / across, height / down))


def wrapped(text: str) -> str:
    """Break a note into lines of the page's width.

    Args:
        text: the note.

    Returns:
        The same with line breaks.
    """
    return textwrap.fill(text, 135, break_on_hyphens=False)


def shortened(text: str, length: int) -> str:
    """Leave out the middle of a text that is too long.

    Args:
        text: the text.
        length: the most characters to keep.

    Returns:
        A text of at most that length, of at least one character.

    Example:
        >>> shortened("subject_1_array_B_channel_017", 12)
        'subjec…l_017'
    """
    text = spelled(text)
    if len(text) <= length:
        return text
    tail = max(length - 1, 0) // 2
    return text[: max(length - 1 - tail, 0)] + "…" + text[len(text) - tail :]


def plain_axes(axes: Axes) -> None:
    """Take away what carries no information, and set the type.

    Args:
        axes: the axes.
    """
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=FONT, width=0.6, length=2.5)
    for label in (axes.xaxis, axes.yaxis):
        label.get_offset_text().set_fontsize(FONT)


def draw_legend(figure: Figure, axes: Iterable[Axes], *, columns: int = 100) -> None:
    """Explain the marks above a figure, each once.

    Args:
        figure: the figure.
        axes: axes with labelled marks.
        columns: the most marks in a row.
    """
    marks = [zip(*one.get_legend_handles_labels(), strict=True) for one in axes]
    labels = {label: mark for pairs in marks for mark, label in pairs}
    place: Any = "outside upper center"
    figure.legend(labels.values(), labels, loc=place, ncols=min(len(labels), columns), fontsize=FONT, frameon=False)


def draw_distributions(axes: Axes, values: Mapping[str, Sequence[float]], label: str) -> None:
    """Draw every number as a point, and for each group a box from quartile to quartile with its median.

    Args:
        axes: where to.
        values: numbers by name of the group; NaN are left out.
        label: what they are.
    """
    plain_axes(axes)
    ticks = []
    for at, (name, group) in enumerate(values.items()):
        known = np.asarray([value for value in group if not np.isnan(value)])
        spread = 0.5 * ((np.arange(len(known)) * 0.618) % 1 - 0.5)  # the golden ratio keeps neighbours apart
        axes.plot(at + spread, known, "o", color=SKY, markersize=2, markeredgewidth=0, zorder=3)
        axes.boxplot(
            known,
            positions=[at],
            widths=0.7,
            showfliers=False,
            showcaps=False,
            whis=0,
            medianprops={"color": BLACK, "linewidth": 1.4, "zorder": 4},
            boxprops={"linewidth": 0.8},
        )
        ticks.append(f"{name}\nn = {len(known)}")
    axes.set_xticks(range(len(values)), ticks, fontsize=FONT)
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.set_ylabel(label, fontsize=FONT)
