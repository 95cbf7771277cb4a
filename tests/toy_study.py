"""A small study with numbers and maps made by hand, and what a figure of it shows."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.text import Text

from captum_shared.study.result import AXES, SIDES, NeuronResult, PairResult, StudyResult

SIZE = 8
METHODS = ("recommended", "paper", "ours-ig")
ALL_KINDS = ("strong", "strong", "dissimilar", "weak")


def neuron(index: int, kinds: tuple[str, ...] = ALL_KINDS, **changes: object) -> NeuronResult:
    """A neuron whose numbers all differ, from each other and from those of other neurons."""
    first = 0.01 * index
    pairs = tuple(
        PairResult(
            kind,
            f"object{row}",
            f"body{row}",
            20.0 + index + row,
            30 + first,
            0.6 - 0.1 * row,
            agreement=0.4 - 0.1 * row + first,
            intensity=dict.fromkeys(METHODS, first + 1e-3 * row),
            gradient_ig_correlation=0.9,
        )
        for row, kind in enumerate(kinds)
    )
    made = NeuronResult(
        f"n{index}",
        "IT",
        "",
        "",
        0.3 + first,
        0.2 + first,
        0.8 + first,
        0.7 + first,
        30.0 + index,
        10.0 + index,
        (),
        pairs,
    )
    return dataclasses.replace(made, **changes)


def study(
    folder: Path, neurons: list[NeuronResult], *, size: int = SIZE, maps: Callable[[int], np.ndarray] | None = None
) -> StudyResult:
    """A study whose neuron k has maps of ramps that end at k + 1 for gradients, 10 (k + 1) for the integrated ones.

    As densities, those of the recommended method end at (k + 1) / 100.
    """
    ramp = np.linspace(0, 1, size * size, dtype=np.float32).reshape(size, size)
    own = maps or (lambda index: (index + 1) * ramp * np.array([1 / size**2, 1, 10], np.float32)[:, None, None])
    kept = [entry for entry in neurons if entry.pairs]
    shapes = [(len(entry.pairs), len(SIDES), len(METHODS), size, size) for entry in kept]
    arrays = {f"maps/{index:05d}": np.broadcast_to(own(index), shape) for index, shape in enumerate(shapes)}
    names = [f"{what}{row}" for what in ("object", "body") for row in range(6)]
    pictures = np.random.default_rng(0).integers(0, 256, (len(names), size, size, 3), dtype=np.uint8)
    file = folder / "maps.npz"
    np.savez(
        file,
        maps_names=[entry.name for entry in kept],
        pictures_names=names,
        axes=AXES,
        sides=SIDES,
        methods=METHODS,
        **arrays,
        **{f"pictures/{index:05d}": picture for index, picture in enumerate(pictures)},
    )
    return StudyResult(
        {"preferred": "body", "methods": list(METHODS)}, {}, 0, (-0.2, 0.21), (-0.1, 0.11), tuple(neurons), file
    )


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def overlays(figure: Figure) -> list[tuple[np.ndarray, Normalize]]:
    """The maps with their scales, in the order in which they are drawn."""
    drawn = [axes.images[1] for axes in figure.axes if len(axes.images) == 2]
    return [(np.asarray(image.get_array()), image.norm) for image in drawn]


def points(axes: Axes) -> list[list[float]]:
    """The points of every group of a distribution."""
    return [sorted(map(float, line.get_ydata())) for line in axes.get_lines() if line.get_marker() == "o"]
