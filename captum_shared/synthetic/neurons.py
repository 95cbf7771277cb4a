"""Neurons with known drivers: their rate depends on which parts an image shows, and on how much of each.

The rates come from the drawing, never from a network, so a method that explains a neuron through a network's features
can be told right from wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from captum_shared.synthetic.parts import PARTS, check_part
from captum_shared.synthetic.stimuli import Stimulus, visible_area

TYPICAL_AREA = {
    "head": 0.044,
    "torso": 0.075,
    "limb": 0.04,
    "tail": 0.012,
    "wing": 0.07,
    "horn": 0.013,
    "box": 0.13,
    "dome": 0.1,
    "wheel": 0.025,
    "handle": 0.02,
    "spout": 0.025,
    "blade": 0.035,
    "shade": 0.065,
    "pole": 0.014,
}
"""Fraction of the image on which a part shows, as a rule, in the stimuli where it shows at all."""

_ANCHORS = ("head", "torso", "limb", "tail")
_SHARED = ("torso", "limb", "tail", "wing", "horn")
_DEMO_DRIVERS = (
    ("head", "wing"),
    ("limb", "torso"),
    ("tail", "limb"),
    ("torso", "horn"),
    ("limb", "wing"),
    ("head", "torso", "tail"),
)


@dataclass(frozen=True)
class SyntheticNeuron:
    """A neuron that answers to the parts in an image.

    With the area a of each part and its typical area t,

        rate = [ baseline + sum over parts of gain * 2 a / (a + t) ]_+

    so a part at its typical area adds its gain, and no area adds more than twice that.

    Args:
        name: What to call it.
        tuning: Gain of each driving part in spikes/s; negative inhibits.
        baseline: Rate without any of them, in spikes/s, at least 0.

    Raises:
        ValueError: If a part is unknown or the baseline negative.

    Example:
        >>> import torch
        >>> neuron = SyntheticNeuron("wheel detector", {"wheel": 20.0}, baseline=2.0)
        >>> neuron.rate([Stimulus(torch.zeros(3, 112, 112), {}, "artefact")])
        array([2.])
    """

    name: str
    tuning: dict[str, float]
    baseline: float

    def __post_init__(self) -> None:
        for part in self.tuning:
            check_part(part)
        if self.baseline < 0:
            raise ValueError(
                f"Expected a baseline of at least 0 spikes/s, got {self.baseline}. Inhibit with a negative gain."
            )

    def rate(self, stimuli: Sequence[Stimulus]) -> Float[ndarray, " image"]:
        """Rate to expect for each image.

        Args:
            stimuli: Images with masks of their parts.

        Returns:
            Spikes/s, float64, at least 0.

        Example:
            >>> import torch
            >>> mask = torch.arange(10000).reshape(100, 100) < 250  # typical of a wheel
            >>> stimulus = Stimulus(torch.zeros(3, 100, 100), {"wheel": mask}, "artefact")
            >>> SyntheticNeuron("wheel detector", {"wheel": 20.0}, baseline=2.0).rate([stimulus])
            array([22.])
        """
        rates = np.full(len(stimuli), self.baseline)
        for part, gain in self.tuning.items():
            rates += gain * _drive(stimuli, part)
        return rates.clip(min=0)


def estimated_gains(
    responses: Float[ndarray, "image neuron"], stimuli: Sequence[Stimulus]
) -> Float[ndarray, "neuron part"]:
    """Gain of every part that explains given responses best, in least squares.

    With the area a of each part and its typical area t, as in :class:`SyntheticNeuron`,

        response ~ baseline + sum over all parts of gain * 2 a / (a + t)

    so the rates of a neuron that is never silenced give back its tuning, with zeros for parts that do not drive it.

    Args:
        responses: Recorded or predicted, any unit.
        stimuli: The images, several times as many as there are parts.

    Returns:
        Gains in the unit of the responses, in the order of ``PARTS``; NaN for parts that no image shows.

    Raises:
        ValueError: If the images do not tell the parts apart, being too few or too much alike.

    Example:
        >>> from captum_shared.synthetic.stimuli import draw_stimuli
        >>> stimuli = draw_stimuli("creature", 40, seed=0)
        >>> neuron = SyntheticNeuron("neuron", {"wing": 12.0, "tail": 9.0}, baseline=2.0)
        >>> gains = estimated_gains(neuron.rate(stimuli)[:, None], stimuli)[0]
        >>> {part: round(gain) for part, gain in zip(PARTS, gains.tolist()) if gain > 1}
        {'tail': 9, 'wing': 12}
    """
    drives = {part: _drive(stimuli, part) for part in PARTS}
    shown = [index for index, drive in enumerate(drives.values()) if drive.any()]
    design = np.column_stack([np.ones(len(stimuli)), *(drive for drive in drives.values() if drive.any())])
    solution, _, rank, _ = np.linalg.lstsq(design, responses, rcond=None)
    if rank < design.shape[1]:
        raise ValueError(
            f"Expected images that tell {len(shown)} parts apart, got {len(stimuli)} that do not. Draw more of them."
        )
    gains = np.full((responses.shape[1], len(PARTS)), np.nan)
    gains[:, shown] = solution[1:].T
    return gains


def _drive(stimuli: Sequence[Stimulus], part: str) -> Float[ndarray, " image"]:
    """Drive of a part that is seen with the area a: 2 a / (a + t), 1 at its typical area t."""
    area = np.array([visible_area(stimulus, part) for stimulus in stimuli], dtype=np.float64)
    drive: ndarray = 2 * area / (area + TYPICAL_AREA[part])
    return drive


def category_selective_neurons(n: int, *, seed: int = 0) -> list[SyntheticNeuron]:
    """Neurons that prefer creatures on average, though some artefacts drive them strongly.

    Each has two or three driving parts that creatures have, at least one of which artefacts share. The drivers of the
    first six are fixed, those of the others random; gains are drawn from 8 to 16, baselines from 2 to 6 spikes/s.

    Args:
        n: How many, at least 1. The first neurons do not change when more are asked for.
        seed: Not negative; the same seed gives the same neurons.

    Returns:
        The neurons.

    Raises:
        ValueError: If n or the seed is out of range.

    Example:
        >>> [sorted(neuron.tuning) for neuron in category_selective_neurons(2)]
        [['head', 'wing'], ['limb', 'torso']]
    """
    if n < 1 or seed < 0:
        raise ValueError(f"Expected n of at least 1 and a seed of at least 0, got n={n} and seed={seed}. Raise them.")
    neurons = []
    for index in range(n):
        rng = np.random.default_rng([seed, index])
        drivers = _DEMO_DRIVERS[index] if index < len(_DEMO_DRIVERS) else _random_drivers(rng)
        tuning = {part: float(rng.uniform(8, 16)) for part in drivers}
        neurons.append(SyntheticNeuron(f"neuron {index}", tuning, baseline=float(rng.uniform(2, 6))))
    return neurons


def _random_drivers(rng: np.random.Generator) -> tuple[str, ...]:
    """A part that most creatures have, then one or two others that artefacts share."""
    anchor = str(rng.choice(_ANCHORS))
    others = rng.permutation([part for part in _SHARED if part != anchor])
    return (anchor, *others[: rng.integers(1, 3)].tolist())


def record(
    neurons: Sequence[SyntheticNeuron],
    stimuli: Sequence[Stimulus],
    *,
    repetitions: int = 8,
    phases: int = 2,
    window: float = 0.2,
    seed: int = 0,
) -> Float[ndarray, "phase image neuron"]:
    """Record Poisson spike counts and average them over repetitions.

    The mean over repetitions has the expectation ``rate`` and the variance rate / (repetitions * window): a sum of
    Poisson counts is a Poisson count, which is what gets drawn.

    Args:
        neurons: At least one.
        stimuli: At least one.
        repetitions: Presentations of each image in each phase, at least 1.
        phases: Independent recordings of everything, at least 1.
        window: Time in which spikes are counted, in seconds, above 0.
        seed: Of the spikes, not negative.

    Returns:
        Mean rates in spikes/s, float64.

    Raises:
        ValueError: If there is nothing to record, or a number is out of range.

    Example:
        >>> from captum_shared.synthetic.stimuli import draw_stimuli
        >>> record(category_selective_neurons(3), draw_stimuli("creature", 4, seed=0)).shape
        (2, 4, 3)
    """
    if not neurons or not stimuli:
        raise ValueError(
            f"Expected at least one neuron and one stimulus, got {len(neurons)} and {len(stimuli)}. Add some."
        )
    if repetitions < 1 or phases < 1 or not window > 0 or seed < 0:
        raise ValueError(
            "Expected repetitions >= 1, phases >= 1, window > 0 and seed >= 0, got "
            f"repetitions={repetitions}, phases={phases}, window={window}, seed={seed}. Raise what is too low."
        )
    rates = np.stack([neuron.rate(stimuli) for neuron in neurons], axis=1)
    exposure = repetitions * window
    counts = np.random.default_rng(seed).poisson(rates * exposure, size=(phases, *rates.shape))
    means: ndarray = counts / exposure
    return means
