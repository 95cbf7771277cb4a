"""Studies of many neurons with numbers made by hand."""

import math
from pathlib import Path

import numpy as np
from toy_study import neuron

from captum_shared.study.concordance import Concordance
from captum_shared.study.result import NeuronResult, StudyResult

REGIONS, SUBJECTS = ("anterior", "posterior"), ("first", "second")


def neurons(count: int, regions: tuple[str, ...] = REGIONS, subjects: tuple[str, ...] = SUBJECTS) -> list[NeuronResult]:
    """Neurons of every kind: the first is excluded, the second no better than chance, all others explained."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(count):
        truth = rng.uniform(0.2, 0.95)
        kinds = () if index < 2 else ("strong", "strong", "dissimilar", "weak")
        made.append(
            neuron(
                index,
                kinds,
                name=f"neuron {index}",
                region=regions[index % len(regions)],
                subject=subjects[index // 2 % len(subjects)],
                excluded="silent" if index == 0 else "",
                heldout_correlation=math.nan
                if index == 0
                else 0.1
                if index == 1
                else 0.25 + 0.7 * truth * rng.uniform(0.8, 1),
                reliability=truth,
                ceiling=math.sqrt(truth),
                preferred_mean=rng.uniform(8, 40),
                ooc_mean=rng.uniform(2, 20),
                null_interval=(-0.2, 0.21),
            )
        )
    return made


def population_study(folder: Path, made: list[NeuronResult]) -> StudyResult:
    """A study that has no file of maps."""
    whole = ((1.0, 0.9), (0.9, 1.0))
    numbers = {"concordance": whole, "low": whole, "high": whole, "p_differ": whole}
    compared = Concordance(
        "subject", SUBJECTS, (48, 48), {}, **numbers, closest=SUBJECTS, p_closest=math.nan, left_out={}, matched=True
    )
    settings = {"preferred": "body", "methods": [], "model": "toy"}
    layers = {"early": 0.31, "late": 0.52}
    return StudyResult(
        settings, {}, 0, (-0.2, 0.21), (-0.1, 0.11), tuple(made), folder / "none.npz", layers, (compared,)
    )
