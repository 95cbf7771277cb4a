"""One call for a pair, a neuron and any number of methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from jaxtyping import Float
from torch import Tensor

from captum_shared.attr._captum import TargetType
from captum_shared.attr.backpropagation import PairPass
from captum_shared.attr.pairs import Pair, checked_pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.features import LatentFeatures
from captum_shared.methods.method import Method
from captum_shared.methods.registry import DEFAULT_METHODS, methods_by_name


@final
@dataclass(frozen=True, eq=False)
class Explanation:
    """The maps of a method, of the images and of their references.

    Attributes:
        method: the method.
        attributions: signed, as the method gives them: (image, channel, height, width), of pixels or of a layer.
        heatmaps: non-negative, of the size of the images: (image, height, width); not normalised.
    """

    method: Method
    attributions: Pair
    heatmaps: Pair

    @property
    def shared(self) -> Float[Tensor, " image"] | None:
        """What each pair shares, between 0 and 1; None for methods whose maps have no absolute scale."""
        if not self.method.absolute:
            return None
        total: Tensor = self.attributions[0].sum((1, 2, 3))
        return total


def explain(
    similarity: NeuronSimilarity,
    inputs: Pair,
    target: TargetType = None,
    *,
    methods: Sequence[str | Method] = DEFAULT_METHODS,
    passed: PairPass | None = None,
) -> dict[str, Explanation]:
    """Make the maps of pairs of images under one or several methods; several threads may call it.

    Args:
        similarity: encoder and readout; the features should be centred (``fit_readout(..., center=True)``).
        inputs: the pair (images, references), each (image, channel, height, width).
        target: the neuron, as anywhere in Captum, or its name: one for all pairs or one a pair.
        methods: names in :data:`~captum_shared.methods.METHODS`, and methods of one's own; by default the recommended
            method, and the paper's beside it.
        passed: a pass of the pair for these methods that is done already (:func:`pass_of`).

    Returns:
        By name of the method its maps, in the order given.

    Raises:
        ImportError: if a method's package is not installed.
        TypeError: if ``inputs`` is not a pair of tensors, or the encoder does not suit a method.
        ValueError: if a method is unknown or given twice, or the pair is empty, of unequal lengths or not finite.

    Example:
        >>> import torch
        >>> from captum_shared import LatentFeatures, LinearReadout
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU())
        >>> readout = LinearReadout(torch.randn(5, 4), feature_mean=torch.rand(4))
        >>> similarity = NeuronSimilarity(LatentFeatures(network, "1"), readout)
        >>> maps = explain(similarity, (torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)), target=3)
        >>> list(maps), maps["recommended"].heatmaps[0].shape
        (['recommended', 'paper'], torch.Size([2, 8, 8]))
        >>> bool((maps["recommended"].shared <= 1).all())
        True
    """
    chosen, explanations = methods_by_name(methods), {}
    if passed is None and sum(method.of_pass is not None for method in chosen) > 1:
        passed = pass_of(similarity, inputs, chosen)
    for method in chosen:
        attributions = method.attribute(similarity, inputs, target, passed=passed)
        explanations[method.name] = Explanation(method, attributions, method.heatmaps(attributions, inputs))
    return explanations


def pass_of(similarity: NeuronSimilarity, inputs: Pair, methods: Sequence[str | Method]) -> PairPass:
    """Run the twins once for all methods that need no more, up to their cuts where they have any.

    Args:
        similarity: the twins.
        inputs: the pair.
        methods: the methods, as for :func:`explain`.

    Returns:
        The pass; without gradients if no method can use it.
    """
    twins = similarity.image_features, similarity.reference_features
    cut = all(isinstance(twin, LatentFeatures) for twin in twins)
    used = any(method.of_pass is not None for method in methods_by_name(methods))
    run = PairPass.of if used else PairPass.without_gradients
    return run(similarity, checked_pair(inputs), None if cut else False)
