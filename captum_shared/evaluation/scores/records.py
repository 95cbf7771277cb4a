"""The scores of a benchmark: one record each, read by its results, table and figure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, final

import torch
from torch import Tensor

from captum_shared.evaluation.scores.evidence import Evidence
from captum_shared.evaluation.scores.faithfulness import unexplained_share
from captum_shared.evaluation.scores.intervals import Interval, bootstrap, bootstrap_auroc
from captum_shared.evaluation.scores.recovery import total_mass
from captum_shared.evaluation.scores.sanity import network_agreement, readout_agreement, reference_agreement

Needs: TypeAlias = Literal["pairs", "controls", "faithful", "sanity"]
"""What a score takes: maps and regions of pairs, maps of controls, changed images, or maps of what is wrong. It is
computed for as many pairs as :class:`~captum_shared.evaluation.Extent` has under this name."""

_RANDOMISED: Final = 1 / 3  # the last third of the layers


@final
@dataclass(frozen=True)
class Score:
    """A score of the maps of a method.

    Attributes:
        name: what it is called in ``results.json``.
        title: what it is called in tables and figures.
        call: from evidence to its values, pair first; both images of a pair may follow on a second axis. NaN where the
            question is open.
        needs: what it takes, and so for how many pairs it is computed.
        chance: what guessing gets, or None where that depends on the pairs.
        direction: whether the ``"higher"`` or the ``"lower"`` value is the better one.
        interval: from the values of all pairs to the score and its interval.
        tabulated: whether tables show it unless they are asked for others.
        differs: whether a benchmark also gives the difference of each method from the recommended one, pair by pair.

    Example:
        >>> SCORES["network_randomised"].heading
        'network randomised ↓'
    """

    name: str
    title: str
    call: Callable[[Evidence], Tensor]
    needs: Needs = field(default="pairs", kw_only=True)
    chance: float | None = field(default=None, kw_only=True)
    direction: Literal["higher", "lower"] = field(default="higher", kw_only=True)
    interval: Callable[[Tensor], Interval] = field(default=bootstrap, kw_only=True)
    tabulated: bool = field(default=True, kw_only=True)
    differs: bool = field(default=False, kw_only=True)

    @property
    def heading(self) -> str:
        """The title, with an arrow where less is better."""
        return self.title + (" ↓" if self.direction == "lower" else "")


def recovered(name: str) -> Callable[[Evidence], Tensor]:
    """Return the score of that name of :func:`~captum_shared.evaluation.recovery_scores`."""
    return lambda evidence: evidence.recovered[name]


def intensities(evidence: Evidence) -> Tensor:
    """Compute the total mass of the maps of pairs, and of the same images with their controls, (pair, 2)."""
    pairs = evidence.pairs
    controls = evidence.method.maps(pairs.similarity, (pairs.images, pairs.controls), pairs.neurons)
    return torch.stack([total_mass(first) + total_mass(second) for first, second in (evidence.maps, controls)], 1)


def deletion(evidence: Evidence) -> Tensor:
    """Compute how fast the similarity falls when the top pixels are deleted."""
    return evidence.pairs.faithfulness.deletion(evidence.maps)


def insertion(evidence: Evidence) -> Tensor:
    """Compute how fast the similarity rises when the top pixels are inserted."""
    return evidence.pairs.faithfulness.insertion(evidence.maps)


def infidelity(evidence: Evidence) -> Tensor:
    """Compute the infidelity of gradients by pixels; of other kinds it is open, as they are no local approximation."""
    pairs = evidence.pairs
    if evidence.method.kind != "gradient":
        return torch.full((len(pairs.neurons),), torch.nan, dtype=torch.float64)
    return unexplained_share(pairs.similarity, pairs.inputs, attributions=evidence.attributions, target=pairs.neurons)


def network_randomised(evidence: Evidence) -> Tensor:
    """Compare maps with those of a network whose last layers are randomised."""
    pairs = evidence.pairs
    return network_agreement(
        evidence.maps_of, pairs.similarity, inputs=pairs.inputs, target=pairs.neurons, shares=(_RANDOMISED,)
    )[0]


def readout_replaced(evidence: Evidence) -> Tensor:
    """Compare maps with those of a readout that gives its weights to other features."""
    pairs = evidence.pairs
    return readout_agreement(evidence.maps_of, pairs.similarity, inputs=pairs.inputs, target=pairs.neurons)


def reference_swapped(evidence: Evidence) -> Tensor:
    """Compare the images' maps with those beside another pair's reference; open where there is no other pair."""
    pairs = evidence.pairs
    if len(pairs.neurons) < 2:
        return torch.full((len(pairs.neurons),), torch.nan, dtype=torch.float64)
    return reference_agreement(evidence.maps_of, pairs.similarity, inputs=pairs.inputs, target=pairs.neurons)


_RECORDS: Final = (
    Score("answer_largest", "answer largest", recovered("answer_largest"), chance=0.25, differs=True),
    Score("mass", "mass", recovered("mass"), differs=True),
    Score("pixel_ap", "pixel average precision", recovered("pixel_ap")),
    Score("pixel_auroc", "pixel auroc", recovered("pixel_auroc"), chance=0.5),
    Score("answer_vs_own_driver", "answer vs own driver", recovered("answer_vs_own_driver"), chance=0.5),
    Score(
        "answer_vs_shared_nondriver", "answer vs shared nondriver", recovered("answer_vs_shared_nondriver"), chance=0.5
    ),
    Score("answer_vs_neither", "answer vs neither", recovered("answer_vs_neither"), chance=0.5),
    Score("auroc_own_driver", "auroc own driver", recovered("auroc_own_driver"), chance=0.5, tabulated=False),
    Score(
        "auroc_shared_nondriver",
        "auroc shared nondriver",
        recovered("auroc_shared_nondriver"),
        chance=0.5,
        tabulated=False,
    ),
    Score("auroc_neither", "auroc neither", recovered("auroc_neither"), chance=0.5, tabulated=False),
    Score("pointing", "pointing", recovered("pointing")),
    Score(
        "intensity",
        "intensity",
        intensities,
        needs="controls",
        chance=0.5,
        interval=lambda masses: bootstrap_auroc(masses[:, 0], masses[:, 1]),
    ),
    Score("deletion", "deletion", deletion, needs="faithful", chance=0.0),
    Score("insertion", "insertion", insertion, needs="faithful", chance=0.0),
    Score("infidelity", "infidelity", infidelity, needs="faithful", chance=1.0, direction="lower"),
    Score("network_randomised", "network randomised", network_randomised, needs="sanity", direction="lower"),
    Score("readout_replaced", "readout replaced", readout_replaced, needs="sanity", direction="lower"),
    Score("reference_swapped", "reference swapped", reference_swapped, needs="sanity", direction="lower"),
)

SCORES: Final[dict[str, Score]] = {score.name: score for score in _RECORDS}
"""All scores by name, in the order of tables."""
