"""How well a neuron is predicted, against what noise and chance let one expect."""

import math
from dataclasses import dataclass
from typing import Final, final

from captum_shared.study.result import NeuronResult, StudyResult

LOWEST: Final = -0.5
"""Where the axis of correlations begins; it ends at 1."""

WIDTH: Final = 360
"""Units of the axis."""


@final
@dataclass(frozen=True)
class Score:
    """A correlation of predicted and recorded responses, with what it is to be compared with.

    Attributes:
        label: on which images.
        value: the correlation, like all others NaN where it is not known.
        null_low: where an interval begins that holds it if nothing predicts the neuron.
        null_high: where that ends.
        reliability: of the responses.
        ceiling: the highest correlation that can be expected of any prediction.
    """

    label: str
    value: float
    null_low: float
    null_high: float
    reliability: float
    ceiling: float

    @property
    def marks(self) -> dict[str, float]:
        """Where on the axis each of the numbers is that are known."""
        names = ("value", "null_low", "null_high", "reliability", "ceiling")
        return {name: across(getattr(self, name)) for name in names if not math.isnan(getattr(self, name))}


def scores(neuron: NeuronResult, result: StudyResult) -> tuple[Score, Score]:
    """Collect how well a neuron is predicted.

    Args:
        neuron: the neuron.
        result: the study that it is of.

    Returns:
        On held-out images of the preferred category, and on images of other categories.

    Example:
        >>> from pathlib import Path
        >>> neuron = NeuronResult("A", "IT", "", "", 0.6, 0.3, 0.8, 0.7, 30.0, 10.0)
        >>> study = StudyResult({"preferred": "body"}, {}, 0, (-0.2, 0.2), (-0.1, 0.1), (neuron,), Path("maps.npz"))
        >>> first, second = scores(neuron, study)
        >>> first.label, first.null_high, second.value
        ('body, held out', 0.2, 0.3)
    """
    own = result.null_interval if math.isnan(neuron.null_interval[1]) else neuron.null_interval
    preferred = result.settings.get("preferred", "preferred category")
    first = Score(f"{preferred}, held out", neuron.heldout_correlation, *own, neuron.reliability, neuron.ceiling)
    other = neuron.ooc_correlation, *result.ooc_null_interval, neuron.ooc_reliability, neuron.ooc_ceiling
    return first, Score("other categories", *other)


def across(value: float) -> float:
    """Tell where a correlation is on the axis.

    Args:
        value: the correlation.

    Returns:
        Units from its beginning, where also those are that are lower.

    Example:
        >>> across(1.0), across(-0.9)
        (360.0, 0.0)
    """
    return round(WIDTH * (min(max(value, LOWEST), 1.0) - LOWEST) / (1.0 - LOWEST), 1)
