"""The results of a benchmark as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from captum_shared.evaluation.scores.records import SCORES


def table(result: Mapping[str, Any], scores: Sequence[str] | None = None) -> str:
    """Write the methods of a benchmark as a table in Markdown, in the order of the result.

    Args:
        result: what :func:`run_benchmark` returns.
        scores: names of the scores to show; by default all that a table shows and that were computed.

    Returns:
        The table: each score with its interval over pairs, the differences from the recommended method (Δ) with their
        intervals over neurons, and seconds per pair.

    Example:
        >>> entry = {"name": "mine", "family": "ours", "seconds_per_pair": 0.5}
        >>> scores = {"mass": {"value": 0.5, "low": 0.4, "high": 0.6}}
        >>> print(table({"methods": [entry | {"scores": scores}]}, ["mass"]))
        | method | family | mass | s per pair |
        |---|---|---|---|
        | mine | ours | 0.50 [0.40, 0.60] | 0.500 |
    """
    if scores is None:
        computed = {name for entry in result["methods"] for name in entry["scores"]}
        scores = [name for name, score in SCORES.items() if score.tabulated and name in computed]
    differing = [name for name in scores if any(name in entry.get("differences", {}) for entry in result["methods"])]
    headings = [*(SCORES[name].heading for name in scores), *(f"Δ {SCORES[name].title}" for name in differing)]
    rows = [["method", "family", *headings, "s per pair"]]
    for entry in result["methods"]:
        cells = [_cell(entry["scores"].get(score)) for score in scores]
        cells += [_cell(entry.get("differences", {}).get(score), sign="+") for score in differing]
        rows.append([entry["name"], entry["family"], *cells, f"{entry['seconds_per_pair']:.3f}"])
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _cell(score: Mapping[str, float | None] | None, sign: str = "") -> str:
    if score is None or score["value"] is None:
        return "-"
    value, low, high = (f"{score[name]:{sign}.2f}" for name in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
