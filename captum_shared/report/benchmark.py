"""The page of a benchmark: how well methods recover what a pair shares, and their maps of the hardest pairs."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from captum_shared._reading import opened
from captum_shared.evaluation.hardest import MAPS, hard_pairs
from captum_shared.evaluation.run import RESULT
from captum_shared.evaluation.scores.records import SCORES
from captum_shared.methods.ours import RECOMMENDED
from captum_shared.report.hard_pairs import pairs_part
from captum_shared.report.libraries import CHARTS
from captum_shared.report.page import Part, number, write_page

_AGAIN: Final = "Run the benchmark again, into a new folder."
_TASKS: Final = {
    "parts": "drawn images whose parts drive simulated neurons",
    "grid": "grids of four photographs, whose categories drive simulated neurons",
    "neurons": "simulated neurons that prefer a category of photographs",
}


def write_benchmark_report(folder: str | Path, path: str | Path) -> None:
    """Write a benchmark as one HTML file, which opens without a server and without a network.

    Args:
        folder: of the benchmark, or its ``results.json``; maps of the hardest pairs are beside that.
        path: the file; it is written whole or not at all.

    Raises:
        FileNotFoundError: if there is no benchmark.
        ValueError: if its files are damaged.
    """
    file = Path(folder) / RESULT if Path(folder).is_dir() else Path(folder)
    if not file.is_file():
        raise FileNotFoundError(f"Expected a finished benchmark, got no file at {file}: check the path, or resume it.")
    with opened(file, "benchmark written by captum-shared", _AGAIN):
        result = json.loads(file.read_text(encoding="utf-8"))
        task, parts = str(result["task"]), [_head(result)]
        parts += (
            [_neurons(result, file.parent)] if "neurons" in result else [_scores(result), _pairs(result, file.parent)]
        )
    write_page(path, f"Benchmark: {_TASKS.get(task, task)}", parts)


def _head(result: Mapping[str, Any]) -> Part:
    settings = {name.replace("_", " "): _text(value) for name, value in result["settings"].items()}
    return Part("benchmark.html.jinja", {"settings": settings, "versions": dict(result["versions"])})


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items()) or "none"
    return "none" if value is None else str(value)


def _scores(result: Mapping[str, Any]) -> Part:
    """The table of all scores, and a chart of one at a time."""
    methods = result["methods"]
    computed = {name for method in methods for name in method["scores"]}
    differing = {name for method in methods for name in method.get("differences", {})}
    columns = [_column(name, "scores") for name in SCORES if name in computed and SCORES[name].tabulated]
    columns += [_column(name, "differences") for name in SCORES if name in differing]
    for column in columns:
        column["values"] = [_interval(method, column) for method in methods]
    rows = [
        {
            "name": method["name"],
            "family": method["family"],
            "cells": [_cell(column["values"][row], signed=column["kind"] == "differences") for column in columns],
            "seconds": method["seconds_per_pair"],
        }
        for row, method in enumerate(methods)
    ]
    data = {
        "methods": [[row["name"], row["family"], row["seconds"]] for row in rows],
        "columns": columns,
    }
    return Part(
        "scores.html.jinja",
        {"rows": rows, "columns": columns, "recommended": RECOMMENDED.name},
        data={"scores-data": data},
        scripts=("charts.js", "table.js", "scores.js"),
        styles=("table.css", "scores.css"),
        libraries=(CHARTS,),
    )


def _column(name: str, kind: str) -> dict[str, Any]:
    score, difference = SCORES[name], kind == "differences"
    return {
        "name": f"{kind}-{name}",
        "score": name,
        "kind": kind,
        "title": f"Δ {score.title}" if difference else score.heading,
        "chance": 0.0 if difference else score.chance,
        "lower": score.direction == "lower",
    }


def _interval(method: Mapping[str, Any], column: Mapping[str, Any]) -> list[float | None]:
    entry = method.get(column["kind"], {}).get(column["score"]) or {}
    return [entry.get(name) for name in ("value", "low", "high")]


def _cell(interval: Sequence[float | None], *, signed: bool) -> dict[str, str]:
    form = "+.2f" if signed else ".2f"
    value, low, high = (number(each, form) for each in interval)
    return {"value": value, "interval": "" if interval[1] is None else f"{low} to {high}"}


def _pairs(result: Mapping[str, Any], folder: Path) -> Part:
    if not (folder / MAPS).is_file():
        sentence = (
            f"There are no maps to show: beside the results is no {MAPS}, as in benchmarks of an older version. "
            f"{_AGAIN}"
        )
        return Part("sentence.html.jinja", {"sentence": sentence})
    methods = {method["name"]: method["family"] for method in result["methods"]}
    return pairs_part(hard_pairs(folder / MAPS, result["settings"]["methods"]), methods)


def _neurons(result: Mapping[str, Any], folder: Path) -> Part:
    """What simulated neurons make of photographs, with the figure if it is there."""
    figure = folder / "figure.png"
    encoded = base64.b64encode(figure.read_bytes()).decode() if figure.is_file() else ""
    return Part("category_neurons.html.jinja", {"neurons": result["neurons"], "figure": encoded}, styles=("table.css",))
