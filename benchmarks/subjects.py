"""Whether a study says which two of three animals share their tuning, and is silent where none, or all, do.

Animals see drawn photographs. The parts that drive a neuron are drawn from three parts of creatures; those are the same
for animals that share their tuning, and at most one is the same for others. What is recorded is noisy (Poisson), of one
animal in some recordings with an eighth of the repetitions, and of 20 to 30 neurons each. Noise that is made equal,
readouts, profiles and verdict are those of a study (``captum_shared.study``); the features of the embedded network are
computed once for all seeds.

- ``says``: the two that share agree more with each other than with the third, beyond chance (``Concordance.ahead``);
- ``shares``: besides, the two do not differ from each other (``Concordance.sharing``);
- ``wrongly``: other two are said to share; where all are alike, or all different, any two.

    python benchmarks/subjects.py --output benchmarks/results/subjects.json
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from reporting import write_report

from captum_shared import NeuronSimilarity, fit_readout
from captum_shared.encoders import encoder_by_name
from captum_shared.neurons import reliability
from captum_shared.study import Concordance, equally_noisy, likeness, profile_correlations
from captum_shared.synthetic import SyntheticNeuron, draw_stimuli

PARTS = ("head", "torso", "limb", "tail", "wing", "horn")
NAMES = ("A", "B", "C")
N_NEURONS = (24, 30, 20)
N_IMAGES = {"creature": 400, "artefact": 200}
WINDOW = 0.2  # seconds in which spikes are counted
SCENARIOS = {  # which animals share, and how often each image is shown to each of them, in each of two phases
    "two share": ("AB", (4, 4, 4)),
    "two share, one of them recorded with more noise": ("AB", (8, 1, 8)),
    "two share, the third recorded with more noise": ("AB", (8, 8, 1)),
    "all alike": ("ABC", (4, 4, 4)),
    "all alike, one recorded with more noise": ("ABC", (8, 1, 8)),
    "all different": ("", (4, 4, 4)),
    "all different, one recorded with more noise": ("", (8, 1, 8)),
}


class World:
    """Drawn photographs, what drives neurons in them, and their features."""

    def __init__(self, seed: int) -> None:
        stimuli = [each for name, n in N_IMAGES.items() for each in draw_stimuli(name, n, seed=3_000_000 + seed)]
        self.preferred = np.array([stimulus.category == "creature" for stimulus in stimuli])
        units = [SyntheticNeuron(part, {part: 1.0}, baseline=0.0) for part in PARTS]
        self.drives = np.stack([unit.rate(stimuli) for unit in units], axis=1)
        self.features = encoder_by_name("embedded", "features")
        self.images = torch.stack([stimulus.image for stimulus in stimuli])
        with torch.no_grad():
            self.latent = torch.cat([self.features(batch) for batch in self.images.split(64)])


def kinds_of(shared: str, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """The parts that may drive neurons of each animal: three, and at most one the same where animals do not share."""
    while True:
        drawn = {name: tuple(sorted(rng.choice(len(PARTS), 3, replace=False))) for name in NAMES}
        kinds = [drawn[shared[0]] if name in shared else drawn[name] for name in NAMES]
        apart = set(kinds)
        distinct = all(len(set(one) & set(other)) <= 1 for one in apart for other in apart if one != other)
        if distinct and len(apart) == len(NAMES) - max(len(shared) - 1, 0):
            return kinds


def recorded(world: World, shared: str, repetitions: Sequence[int], rng: np.random.Generator) -> np.ndarray:
    """Two phases of all animals' neurons, (phase, image, neuron)."""
    rates = []
    for kind, n_neurons, shown in zip(kinds_of(shared, rng), N_NEURONS, repetitions, strict=True):
        gains = np.zeros((len(PARTS), n_neurons))
        for neuron in range(n_neurons):
            driving = rng.choice(kind, rng.integers(1, 3), replace=False)
            gains[driving, neuron] = rng.uniform(8, 16, len(driving))
        expected = world.drives @ gains + rng.uniform(2, 6, n_neurons)
        rates.append(rng.poisson(expected * shown * WINDOW, size=(2, *expected.shape)) / (shown * WINDOW))
    return np.concatenate(rates, axis=2)


def compared(world: World, shared: str, repetitions: Sequence[int], seed: int) -> Concordance:
    """One recording, and what a study says of its animals."""
    rng = np.random.default_rng([seed, len(shared), *repetitions])
    phases = recorded(world, shared, repetitions, rng)[:, world.preferred]
    groups = list(np.repeat(NAMES, N_NEURONS))
    one = reliability(phases)
    noisy = equally_noisy(phases.mean(axis=0), 2 * one / (1 + one), groups, seed=seed)
    similarity = NeuronSimilarity(world.features, fit_readout(world.latent[world.preferred], noisy, center=True))
    profiles = profile_correlations(similarity, world.latent, world.preferred, lambda rows: world.images[rows], groups)
    alike = {name: likeness(correlation) for name, correlation in profiles.items()}
    return Concordance.of(alike, groups, by="subject", seed=seed)


def row(world: World, name: str, seeds: int) -> dict[str, Any]:
    shared, repetitions = SCENARIOS[name]
    results = [compared(world, shared, repetitions, seed) for seed in range(seeds)]
    pairs = ("AB", "AC", "BC")
    told: dict[str, Any] = {
        "recording": name,
        "repetitions": repetitions,
        "seeds": seeds,
        "concordance": {
            pair: float(np.mean([each.concordance[NAMES.index(pair[0])][NAMES.index(pair[1])] for each in results]))
            for pair in pairs
        },
        "differ": {pair: sum(each.differ(*pair) for each in results) for pair in pairs},
    }
    if len(shared) == 2:
        right = tuple(shared)
        told["closest"] = sum(each.closest == right for each in results)
        told["says"] = sum(each.closest == right and each.ahead for each in results)
        told["shares"] = sum(each.sharing == right for each in results)
        told["wrongly"] = sum(each.sharing not in (None, right) for each in results)
    else:
        told["ahead"] = sum(each.ahead for each in results)
        told["wrongly"] = sum(each.sharing is not None for each in results)
    print(told, flush=True)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description="Whether a study says which two of three animals share their tuning.")
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the photographs")
    parser.add_argument("--output", type=Path, default=Path("subjects.json"))
    chosen = parser.parse_args()
    world = World(chosen.seed)
    report = {
        "results": [row(world, name, chosen.seeds) for name in SCENARIOS],
        "settings": {"seeds": chosen.seeds, "seed": chosen.seed, "neurons": N_NEURONS, "images": N_IMAGES},
    }
    write_report(chosen.output, report, ("captum-shared", "numpy", "scikit-learn", "torch"))


if __name__ == "__main__":
    main()
