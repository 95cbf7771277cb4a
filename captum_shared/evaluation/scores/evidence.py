"""What a method gave for some pairs: all that a score is computed from."""

from dataclasses import dataclass
from functools import cached_property
from typing import final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from captum_shared.attr._captum import TargetType
from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.evaluation.scores.faithfulness import PairFaithfulness
from captum_shared.evaluation.scores.recovery import recovery_scores
from captum_shared.methods.method import Method


@final
@dataclass(frozen=True, eq=False)
class KnownPairs:
    """Pairs of known answer, as a network takes them.

    Attributes:
        similarity: the twins and the neurons.
        images: the images.
        references: their references.
        controls: references that drive the neurons too, but share no driver with the images.
        regions: of images and references, one region of each of :data:`~captum_shared.evaluation.scores.KINDS`.
        neurons: the neuron of each pair.
    """

    similarity: NeuronSimilarity
    images: Float[Tensor, "pair channel height width"]
    references: Float[Tensor, "pair channel height width"]
    controls: Float[Tensor, "pair channel height width"]
    regions: Bool[Tensor, "pair 2 4 height width"]
    neurons: Int[Tensor, " pair"]

    @cached_property
    def inputs(self) -> Pair:
        """The images and their references."""
        return self.images, self.references

    @cached_property
    def faithfulness(self) -> PairFaithfulness:
        """What judges deletion and insertion, with the random orders of pixels that are the same for all methods."""
        return PairFaithfulness(self.similarity, self.inputs, self.neurons)

    def first(self, n_pairs: int) -> "KnownPairs":
        """Return the first pairs alone."""
        tensors = (self.images, self.references, self.controls, self.regions, self.neurons)
        return KnownPairs(self.similarity, *(each[:n_pairs] for each in tensors))


@final
@dataclass(frozen=True, eq=False)
class Evidence:
    """What a method gave for some pairs.

    Attributes:
        method: the method.
        pairs: the pairs.
        attributions: its attributions of the images and of the references, signed.
        maps: its heatmaps.
    """

    method: Method
    pairs: KnownPairs
    attributions: Pair
    maps: Pair

    @cached_property
    def shown(self) -> Float[Tensor, "pair 2 height width"]:
        """The heatmaps of images and references, on the CPU."""
        return torch.stack(self.maps, 1).cpu()

    @cached_property
    def recovered(self) -> dict[str, Float[Tensor, "pair 2"]]:
        """How well the heatmaps recover the answer, by name of the score."""
        return recovery_scores(self.shown, self.pairs.regions)

    def maps_of(self, similarity: NeuronSimilarity, inputs: Pair, target: TargetType) -> Pair:
        """Compute heatmaps by the method, but for those of the very pairs, which are known."""
        if similarity is self.pairs.similarity and inputs is self.pairs.inputs:
            return self.maps
        return self.method.maps(similarity, inputs, target)

    def first(self, pairs: KnownPairs) -> "Evidence":
        """Return the evidence of the first pairs alone, as :meth:`KnownPairs.first` gives them."""
        n_pairs = len(pairs.neurons)
        attributions, maps = ((both[0][:n_pairs], both[1][:n_pairs]) for both in (self.attributions, self.maps))
        return Evidence(self.method, pairs, attributions, maps)
