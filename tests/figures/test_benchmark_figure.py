"""The results of a benchmark as a table and as a figure."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from captum_shared.evaluation import table
from captum_shared.figures import benchmark_figure


def result_of(**scores: list[tuple[float, float, float] | None]) -> dict[str, Any]:
    """A result by hand, one method a family."""
    families = ["ours", "neuron", "ceiling"]
    keys = ("value", "low", "high")
    return {
        "task": "grid",
        "methods": [
            {
                "name": f"{family}-{row}",
                "family": family,
                "seconds_per_pair": 0.25 * row,
                "scores": {
                    name: dict(zip(keys, values[row] or (None,) * 3, strict=True)) for name, values in scores.items()
                },
            }
            for row, family in enumerate(families)
        ],
    }


class TestShown:
    def test_differences_stand_beside_the_scores(self) -> None:
        result = result_of(mass=[(0.584, 0.5, 0.6), (0.3, 0.2, 0.4), None])
        result["methods"][1]["differences"] = {"mass": {"value": -0.284, "low": -0.32, "high": 0.004}}
        assert table(result, ["mass"]).splitlines() == [
            "| method | family | mass | Δ mass | s per pair |",
            "|---|---|---|---|---|",
            "| ours-0 | ours | 0.58 [0.50, 0.60] | - | 0.000 |",
            "| neuron-1 | neuron | 0.30 [0.20, 0.40] | -0.28 [-0.32, +0.00] | 0.250 |",
            "| ceiling-2 | ceiling | - | - | 0.500 |",
        ]

    def test_the_table(self) -> None:
        result = result_of(mass=[(0.584, 0.5, 0.6), None, (1.0, 1.0, 1.0)], answer_vs_neither=[(0.1, 0.0, 0.2)] * 3)
        del result["methods"][2]["scores"]["answer_vs_neither"]
        assert table(result, ["mass", "answer_vs_neither"]).splitlines() == [
            "| method | family | mass | answer vs neither | s per pair |",
            "|---|---|---|---|---|",
            "| ours-0 | ours | 0.58 [0.50, 0.60] | 0.10 [0.00, 0.20] | 0.000 |",
            "| neuron-1 | neuron | - | 0.10 [0.00, 0.20] | 0.250 |",
            "| ceiling-2 | ceiling | 1.00 [1.00, 1.00] | - | 0.500 |",
        ]

    @staticmethod
    def drawn(axes: Axes) -> dict[str, list[tuple[float, float, float, float]]]:
        """Row, score and interval of the methods of each family."""
        found = {}
        for container in axes.containers:
            dots, _, (bars,) = container
            ends = [(segment[0, 0], segment[1, 0]) for segment in bars.get_segments()]
            found[container.get_label()] = [
                (y, x, *end) for x, y, end in zip(dots.get_xdata(), dots.get_ydata(), ends, strict=True)
            ]
        return found

    def test_the_figure(self) -> None:
        largest = [(0.6, 0.5, 0.8), (0.4, 0.25, 0.5), (0.3, 0.3, 0.3)]
        figure = benchmark_figure(result_of(answer_largest=largest, mass=[(0.5, 0.4, 0.6), None, (0.2, 0.1, 0.4)]))
        first, second = figure.axes
        assert first.get_xlabel() == "answer largest"
        assert [label.get_text() for label in first.get_yticklabels()] == ["ours-0", "neuron-1", "ceiling-2"]
        assert first.get_ylim() == (2.5, -0.5)
        found = self.drawn(first)
        assert list(found) == ["ours", "neuron", "ceiling"]
        for row, dots in enumerate(found.values()):
            np.testing.assert_allclose(dots, [(row, *largest[row])])
        assert {name: rows[0][:2] for name, rows in self.drawn(second).items()} == {
            "ours": (0, 0.5),
            "ceiling": (2, 0.2),
        }
        chance = [line.get_xdata()[0] for line in first.get_lines() if line.get_linestyle() == ":"]
        assert chance == [0.25]
        assert [text.get_text() for text in figure.legends[0].get_texts()] == ["ours", "neuron", "ceiling"]

    def test_rounding_makes_no_interval_of_negative_length(self) -> None:
        result = result_of(mass=[(0.25, 0.25 + 1e-16, 0.25 - 1e-16)] * 3)
        rows = self.drawn(benchmark_figure(result, ["mass"]).axes[0])["ours"]
        np.testing.assert_allclose(rows, [(0, 0.25, 0.25, 0.25)])

    @pytest.mark.usefixtures("as_installed")
    def test_scores_that_nobody_has_are_refused(self) -> None:
        result = result_of(mass=[(0.5, 0.4, 0.6)] * 3, pointing=[None] * 3)
        with pytest.raises(ValueError, match="No method has the scores insertion, pointing: run the benchmark with"):
            benchmark_figure(result, ["mass", "insertion", "pointing"])
