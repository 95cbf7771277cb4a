"""Spikes of units and presentations of images: what formats of spikes are written from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from jaxtyping import Float64
from numpy import ndarray


@dataclass(frozen=True, eq=False)
class Spikes:
    """A recording before anything is counted or averaged.

    Attributes:
        times: of the spikes of each unit, in seconds, ascending.
        presentations: one row each, with the columns ``start_time`` and ``stop_time`` (seconds), ``stimulus_id`` and
            any of ``phase, repetition, category, filename`` (text).
        neuron_names: one per unit.
        regions: one per unit.
        subject: of all units.

    Raises:
        ValueError: if a column is missing, or there is not one name and one region per unit.
    """

    times: Sequence[Float64[ndarray, " _"]]
    presentations: pd.DataFrame
    neuron_names: Sequence[str]
    regions: Sequence[str]
    subject: str

    def __post_init__(self) -> None:
        missing = {"start_time", "stop_time", "stimulus_id"}.difference(self.presentations)
        if missing or not len(self.times) == len(self.neuron_names) == len(self.regions):
            raise ValueError(
                "Expected presentations with start_time, stop_time and stimulus_id, and one name and one region per "
                f"unit, got {', '.join(self.presentations)}, {len(self.times)} units, {len(self.neuron_names)} names "
                f"and {len(self.regions)} regions."
            )
