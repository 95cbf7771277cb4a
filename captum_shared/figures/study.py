"""The figures of a study, into a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from matplotlib.figure import Figure

from captum_shared.figures import (
    architectures_figure,
    encoding_figure,
    faint_figure,
    integrated_gradients_figure,
    pair_panels_figure,
    response_figure,
    save_figure,
)
from captum_shared.study.result import StudyResult

FigureFormat: TypeAlias = Literal["png", "pdf", "svg"]


def write_figures(
    results: Sequence[StudyResult],
    names: Sequence[str],
    folder: Path,
    *,
    method: str | None = None,
    figure_format: FigureFormat = "png",
) -> list[Path]:
    """Draw every figure of a study.

    Args:
        results: the study and, to compare architectures, the same pairs explained with other networks.
        names: what to call the networks.
        folder: where to; made if absent. Figures of the same names are replaced.
        method: which maps to show; None for the recommended ones or, if they are not in the study, its first.
        figure_format: their format.

    Returns:
        The files written; one that compares gradients with Integrated Gradients only if both are in the study.

    Raises:
        ValueError: if there are no maps by this method.
    """
    written = []
    for name, figure in _figures(results, names, method):
        path = folder / f"{name}.{figure_format}"
        save_figure(figure, path)
        written.append(path)
    return written


def _figures(results: Sequence[StudyResult], names: Sequence[str], method: str | None) -> Iterator[tuple[str, Figure]]:
    first = results[0]
    yield "encoding", encoding_figure(first)
    yield "responses", response_figure(first)
    for region in sorted({neuron.region for neuron in first.included}):
        for page, figure in enumerate(pair_panels_figure(first, region, method=method), start=1):
            yield f"pairs_{_slug(region)}_{page}", figure
    yield "faint", faint_figure(first, method=method)
    if {"paper", "ours-ig"} <= set(first.methods):
        yield "integrated_gradients", integrated_gradients_figure(first)
    if len(results) > 1:
        yield "architectures", architectures_figure(results, names, method=method)


def _slug(region: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in region) or "all"
