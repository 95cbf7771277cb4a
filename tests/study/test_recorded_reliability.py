"""What a study takes for the reliability of responses: of phases, of halves, or as it was published."""

import dataclasses

import numpy as np
import pytest

from captum_shared.recordings import Recording
from captum_shared.study.readouts import recorded_reliability

EVERY = np.array([True, True, True])
ROWS = np.array([[1.0], [2.0], [3.0]])
ONE_PHASE = Recording(ROWS[None], ("a", "b", "c"), ("",) * 3, ("A",), ("",), ("",), reliability=np.array([0.25]))


def test_a_published_reliability_is_used_where_there_is_nothing_better() -> None:
    assert recorded_reliability(ONE_PHASE, EVERY).tolist() == [0.25]
    assert recorded_reliability(ONE_PHASE, np.array([True, True, False])).tolist() == [0.25]
    assert np.isnan(recorded_reliability(dataclasses.replace(ONE_PHASE, reliability=None), EVERY)).all()


def test_halves_and_phases_are_measured_instead() -> None:
    """The correlation of 1, 2, 3 with 1, 3, 2 is a half; of the mean of both halves it is two thirds."""
    other = np.array([[1.0], [3.0], [2.0]])
    halves = dataclasses.replace(ONE_PHASE, halves=np.stack([ROWS, other]))
    assert recorded_reliability(halves, EVERY).tolist() == pytest.approx([2 / 3])
    phases = dataclasses.replace(ONE_PHASE, responses=np.stack([ROWS, other]))
    assert recorded_reliability(phases, EVERY).tolist() == pytest.approx([0.5])
