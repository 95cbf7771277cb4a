"""The figures of a study, into a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

from matplotlib.figure import Figure

from captum_shared._files import digest_of, file_names
from captum_shared._record import keep
from captum_shared._resuming import digest, versions
from captum_shared.figures import (
    architectures_figure,
    behaviour_figure,
    concordance_figure,
    encoding_figure,
    faint_figure,
    integrated_gradients_figure,
    response_figure,
    save_figure,
)
from captum_shared.figures.objects import panel_pages
from captum_shared.figures.shown import method_shown
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
        folder: where to; made if absent. What was drawn of the same study before and is whole is left as it is; a file
            of the same name that is not what was drawn is put aside.
        method: which maps to show; None for the recommended ones or, if they are not in the study, its first.
        figure_format: their format.

    Returns:
        The files; one that compares gradients with Integrated Gradients only if both are in the study.

    Raises:
        ValueError: if there are no maps by this method.
    """
    files = {f"{name}.{figure_format}": partial(_save, draw) for name, draw in _figures(results, names, method)}
    keep(folder, files, of=_source(results, names, method))
    return [folder / name for name in files]


def _save(draw: Callable[[], Figure], path: Path) -> None:
    save_figure(draw(), path)


def _source(results: Sequence[StudyResult], names: Sequence[str], method: str | None) -> str:
    """What figures are drawn from, summed up: two figures of the same are the same."""
    made = [repr(replace(result, map_file=Path())) for result in results]
    maps = [digest_of(result.map_file) for result in results]
    told = [*made, *maps, *names, str(method), json.dumps(versions("captum-shared", "matplotlib"))]
    return digest(text.encode(errors="surrogatepass") for text in told)


def _figures(
    results: Sequence[StudyResult], names: Sequence[str], method: str | None
) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """The names of all figures, and what draws them."""
    first = results[0]
    yield "encoding", partial(encoding_figure, first)
    yield "responses", partial(response_figure, first)
    regions = sorted({neuron.region for neuron in first.explained})
    for region, name in zip(regions, file_names(regions), strict=True):
        for page, draw in enumerate(panel_pages(first, region, method_shown(first, method)), start=1):
            yield f"pairs_{name}_{page}", draw
    for compared in first.compared:
        yield f"{compared.by}s", partial(concordance_figure, compared)
    if first.behaviour:
        yield "behaviour", partial(behaviour_figure, first)
    yield "faint", partial(faint_figure, first, method=method)
    if {"paper", "ours-ig"} <= set(first.methods):
        yield "integrated_gradients", partial(integrated_gradients_figure, first)
    if len(results) > 1:
        yield "architectures", partial(architectures_figure, results, names, method=method)
