"""Rows of small images: a pair, its maps, and what was measured, on a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy import ndarray

from captum_shared.figures.overlay import colour_bar, draw_overlay, draw_picture
from captum_shared.figures.page import CHARACTERS, FONT, LINE, WIDTH, new_figure, place, shortened, wrapped, write
from captum_shared.figures.shown import PairMaps
from captum_shared.study.result import SIDES

MARGIN = 0.1  # inches, like all that follow
_GAP = 0.03
_GROUP_GAP = 0.12
_BAR = 0.5
_COLUMN_GAP = 0.3
_TITLE = 0.25
_HEADING_GAP = 0.06
_BESIDE = 5.05  # what is left of the page's width beside summaries
_SUMMARY = 1.9  # the least height of one


@dataclass(frozen=True)
class Tile:
    """An image, bare or under a map.

    Attributes:
        picture: RGB.
        heat: the map, or None.
        norm: its scale.
        empty: what a map of zeros says.
    """

    picture: UInt8[ndarray, "row column channel"]
    heat: Float32[ndarray, "row column"] | None = None
    norm: Normalize | None = None
    empty: str = ""


@dataclass(frozen=True)
class TileRow:
    """Groups of tiles side by side.

    Attributes:
        groups: the tiles of every group; a group without tiles stays empty.
        captions: what stands beneath each group; no line is left for them if there are none.
        heading: what stands above; no line is left for it if it is empty.
        heads: what stands above each tile; likewise.
    """

    groups: Sequence[Sequence[Tile]]
    captions: Sequence[str] = ()
    heading: str = ""
    heads: Sequence[Sequence[str]] = ()


def side_groups(columns: Sequence[tuple[PairMaps, Normalize]]) -> list[list[Tile]]:
    """Put the image beside its maps, and the reference beside its own.

    Args:
        columns: the same pair with every kind of map, and the scale of each.

    Returns:
        The tiles of the image and those of the reference.
    """
    heats = [maps.heats() for maps, _ in columns]
    return [
        [
            Tile(columns[0][0].picture(side)),
            *(
                Tile(maps.picture(side), heat[index], norm, "nothing shared" if maps.method.absolute else "")
                for (maps, norm), heat in zip(columns, heats, strict=True)
            ),
        ]
        for index, side in enumerate(SIDES)
    ]


def tile_page(
    columns: Sequence[Sequence[TileRow]],
    bars: Mapping[str, Normalize],
    *,
    title: str,
    note: str,
    summaries: int = 0,
) -> tuple[Figure, list[Axes]]:
    """Draw rows of tiles, in one or more columns, over the scales of their maps.

    Args:
        columns: the rows of every column; all groups of a page have equally many tiles.
        bars: the scales by what they show.
        title: what stands above.
        note: what stands beneath.
        summaries: how many axes to leave room for at the right, one above the other.

    Returns:
        The figure, and these axes.
    """
    width = _BESIDE if summaries else WIDTH
    across = (width - 2 * MARGIN - (len(columns) - 1) * _COLUMN_GAP) / len(columns)
    side = _side(columns[0][0], across)
    top, lines = _TITLE, wrapped(note)
    bars_top = top + max(sum(_height(row, side) for row in rows) for rows in columns)
    bottom = max(bars_top + _BAR, top + _SUMMARY * summaries)
    figure = new_figure(bottom + LINE * (lines.count("\n") + 1) + MARGIN)
    write(figure, title, MARGIN, MARGIN / 2, fontsize=9, weight="bold")
    for index, rows in enumerate(columns):
        _draw_rows(figure, rows, MARGIN + index * (across + _COLUMN_GAP), top, side=side)
    _draw_bars(figure, bars, bars_top, width=width)
    write(figure, lines, MARGIN, bottom)
    left, each = width + 0.5, (bottom - top) / max(summaries, 1)
    free = {"width": WIDTH - MARGIN - left, "height": each - 0.5}
    return figure, [place(figure, left, top + LINE + index * each, **free) for index in range(summaries)]


def _side(row: TileRow, width: float) -> float:
    """The side of the square that a tile gets, in inches."""
    n_tiles = sum(max(len(group) for group in row.groups) for _ in row.groups)
    gaps = (len(row.groups) - 1) * _GROUP_GAP + (n_tiles - len(row.groups)) * _GAP
    return (width - gaps) / n_tiles


def _height(row: TileRow, side: float) -> float:
    beneath = max((caption.count("\n") + 1 for caption in row.captions), default=0)
    return _above(row) + side + LINE * beneath + _GAP * (1 + bool(row.captions))


def _above(row: TileRow) -> float:
    return LINE * (bool(row.heading) + bool(row.heads)) + _HEADING_GAP * bool(row.heading)


def _draw_rows(figure: Figure, rows: Sequence[TileRow], left: float, top: float, *, side: float) -> None:
    for row in rows:
        size = max(len(group) for group in row.groups)
        width = size * side + (size - 1) * _GAP
        heading = shortened(row.heading, int(0.85 * CHARACTERS * width * len(row.groups)))
        write(figure, heading, left, top + _HEADING_GAP, weight="bold")
        above = top + _above(row)
        for index, group in enumerate(row.groups):
            start = left + index * (width + _GROUP_GAP)
            for column, tile in enumerate(group):
                _draw_tile(figure, tile, start + column * (side + _GAP), above, side=side)
            for column, head in enumerate(row.heads[index] if row.heads else ()):
                middle = start + column * (side + _GAP) + side / 2
                write(figure, shortened(head, int(CHARACTERS * side)), middle, above - LINE, ha="center")
            if row.captions:
                write(figure, row.captions[index], start, above + side + 0.02)
        top += _height(row, side)


def _draw_tile(figure: Figure, tile: Tile, left: float, top: float, *, side: float) -> None:
    axes = place(figure, left, top, width=side, height=side)
    picture = tile.picture.astype(np.float32) / 255
    if tile.heat is None or tile.norm is None:
        draw_picture(axes, picture)
    else:
        draw_overlay(axes, picture, tile.heat, tile.norm)
        if tile.empty and not tile.heat.any():
            box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
            axes.text(0.5, 0.04, tile.empty, transform=axes.transAxes, fontsize=FONT, ha="center", bbox=box)


def _draw_bars(figure: Figure, bars: Mapping[str, Normalize], top: float, *, width: float) -> None:
    room = (width - MARGIN) / len(bars)
    for index, (label, norm) in enumerate(bars.items()):
        axes = place(figure, 2 * MARGIN + index * room, top + LINE, width=min(room - 4 * MARGIN, 3.0), height=0.1)
        bar = colour_bar(figure, norm, cax=axes, extend="max")
        bar.ax.set_title(shortened(label, int(CHARACTERS * room)), fontsize=FONT, pad=2, loc="left")
