"""Maps of pairs of a simulated recording, against the parts that truly drive its neurons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from jaxtyping import Bool
from torch import Tensor

from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.photographs import load_inputs
from captum_shared.evaluation.scores.recovery import recovery_scores
from captum_shared.methods.explanation import Explanation, explain
from captum_shared.methods.method import Method
from captum_shared.synthetic.neurons import SyntheticNeuron
from captum_shared.synthetic.stimuli import Stimulus
from captum_shared.synthetic.world import SimulatedWorld, simulated_world


@final
@dataclass(frozen=True, eq=False)
class ScoredPair:
    """A pair of a simulated recording, the maps of several methods, and how right they are.

    Attributes:
        neuron: name of the neuron.
        inputs: image and reference, each (1, channel, height, width), as the network takes them.
        shared_parts: parts that drive the neuron and are in both images.
        regions: of image and reference, one region of each of :data:`~captum_shared.evaluation.KINDS`.
        explanations: the maps by name of the method (:func:`~captum_shared.explain`).
        scores: by name of the method and of the score, the mean of image and reference; NaN where a region that the
            score needs is empty in one of them.
    """

    neuron: str
    inputs: Pair
    shared_parts: tuple[str, ...]
    regions: Bool[Tensor, "2 4 height width"]
    explanations: Mapping[str, Explanation]
    scores: Mapping[str, Mapping[str, float]]

    @property
    def answer_area(self) -> float:
        """The share of the pixels that the shared parts cover, mean of both images: the mass that chance would give."""
        return float(self.regions[:, 0].float().mean())


def score_simulated_pairs(
    folder: str | Path,
    similarity: NeuronSimilarity,
    pairs: Sequence[tuple[str, str, str]],
    *,
    methods: Sequence[Method],
    progress: bool = False,
) -> list[ScoredPair]:
    """Make maps of pairs of a simulated recording, and score them against the truth about it.

    Args:
        folder: of the recording, as :func:`~captum_shared.synthetic.simulate_recording` wrote it.
        similarity: encoder, with its ``preprocess``, and the readouts of the neurons by their names.
        pairs: of each the name of the neuron, and the identifiers of image and reference.
        methods: what makes the maps.
        progress: whether to show progress bars.

    Returns:
        One result a pair, in their order.

    Raises:
        FileNotFoundError: if the folder holds no simulated recording, or an image is missing.
        KeyError: if there is no such neuron or image.
    """
    world = simulated_world(folder, progress=progress)
    return [_scored(Path(folder), world, similarity, pair=pair, methods=methods) for pair in pairs]


def known_regions(image: Stimulus, reference: Stimulus, neuron: SyntheticNeuron) -> Bool[Tensor, "2 4 height width"]:
    """Tell what is what in a pair of drawn images.

    Args:
        image: an image with the masks of its parts.
        reference: another of its size.
        neuron: what drives it counts as a driver; what inhibits it does not.

    Returns:
        For either image the pixels of the parts of each of :data:`~captum_shared.evaluation.KINDS`; the background is
        in none of them.

    Example:
        >>> top = torch.tensor([[True, True], [False, False]])
        >>> picture = torch.zeros(3, 2, 2)
        >>> image = Stimulus(picture, {"wing": top, "box": ~top}, "artefact")
        >>> reference = Stimulus(picture, {"wing": ~top}, "artefact")
        >>> known_regions(image, reference, SyntheticNeuron("A", {"wing": 9.0}, 2.0)).flatten(2).sum(2)
        tensor([[2, 0, 0, 2],
                [2, 0, 0, 0]])
    """
    drivers = _drivers(neuron)
    both = image.masks.keys() & reference.masks.keys()
    sides = []
    for stimulus in (image, reference):
        kinds: list[Tensor] = [torch.zeros(stimulus.image.shape[1:], dtype=torch.bool) for _ in range(4)]
        for part, mask in stimulus.masks.items():
            kinds[2 * (part not in drivers) + (part not in both)] |= mask
        sides.append(torch.stack(kinds))
    return torch.stack(sides)


def _scored(
    folder: Path,
    world: SimulatedWorld,
    similarity: NeuronSimilarity,
    *,
    pair: tuple[str, str, str],
    methods: Sequence[Method],
) -> ScoredPair:
    name, *identifiers = pair
    neuron = next(neuron for neuron in world.neurons if neuron.name == name)
    image, reference = (world.stimuli[identifier] for identifier in identifiers)
    encoder: Any = similarity.image_features
    inputs = load_inputs(encoder, [folder / f"images/{identifier}.png" for identifier in identifiers])
    target = similarity.readout.neuron_index(name)
    regions = known_regions(image, reference, neuron)
    explanations = explain(similarity, (inputs[:1], inputs[1:]), target, methods=methods)
    recovered = {name: recovery_scores(torch.cat(each.heatmaps).cpu(), regions) for name, each in explanations.items()}
    return ScoredPair(
        neuron=name,
        inputs=(inputs[:1], inputs[1:]),
        shared_parts=tuple(part for part in _drivers(neuron) if part in image.masks and part in reference.masks),
        regions=regions,
        explanations=explanations,
        scores={name: {score: float(each.mean()) for score, each in own.items()} for name, own in recovered.items()},
    )


def _drivers(neuron: SyntheticNeuron) -> list[str]:
    return [part for part, gain in neuron.tuning.items() if gain > 0]
