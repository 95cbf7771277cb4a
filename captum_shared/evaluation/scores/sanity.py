"""Do maps depend on what they are said to explain? Agreement of maps before and after it is replaced.

A method is a callable (similarity, inputs, target) to the two heatmaps of each pair, such as
:meth:`~captum_shared.methods.Method.maps`. What is replaced is replaced in copies: nothing of the
caller's changes.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_shared.attr._captum import TargetType
from captum_shared.attr.heatmaps import rank_correlation
from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.twins import evaluation_mode, tied_copy

PairMethod: TypeAlias = Callable[[NeuronSimilarity, Pair, TargetType], Pair]


def map_agreement(
    maps: Float[Tensor, "image height width"], others: Float[Tensor, "image height width"]
) -> Float[Tensor, " image"]:
    """Correlate the ranks of two maps over pixels (Spearman).

    Args:
        maps: one map an image, in any unit.
        others: as many of the same height and width.

    Returns:
        Between -1 and 1, in float64. Two constant maps agree fully (1), a constant map and another not at all (0): a
        method that shows the same nothing before and after has not passed.

    Example:
        >>> map_agreement(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[-5.0, 9.0, 8.0]]]))
        tensor([0.5000], dtype=torch.float64)
    """
    pairs = zip(maps.cpu().numpy(), others.cpu().numpy(), strict=True)
    correlations = torch.tensor([rank_correlation(*pair) for pair in pairs], dtype=torch.float64)
    first, second = ((each.amax((1, 2)) == each.amin((1, 2))).cpu() for each in (maps, others))
    return torch.where(correlations.isnan(), (first & second).double(), correlations)


def network_agreement(
    method: PairMethod,
    similarity: NeuronSimilarity,
    *,
    inputs: Pair,
    target: TargetType = None,
    shares: Sequence[float] = (1 / 3, 2 / 3, 1.0),
    seed: int = 0,
) -> Float[Tensor, "share pair 2"]:
    """Compare maps with those after the network's weights are randomised layer by layer from the top.

    Args:
        method: what makes the maps.
        similarity: the twins and the neurons.
        inputs: the pairs (images, references).
        target: the neuron, as in Captum.
        shares: which share of the layers, counted from the top, is randomised, each above 0 and at most 1; see
            :func:`randomised`.
        seed: of the weights; more layers randomised are the same layers and further ones.

    Returns:
        :func:`map_agreement` for each share, of the images' and of the references' maps.

    Raises:
        ValueError: if a share is out of range.

    Source:
        Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018: cascading randomisation.

    Example:
        >>> from captum_shared.methods.registry import METHODS
        >>> from captum_shared.neurons.readout import LinearReadout
        >>> similarity = NeuronSimilarity(nn.Sequential(nn.Flatten(), nn.Linear(48, 4)), LinearReadout.uniform(4))
        >>> inputs = torch.rand(5, 3, 4, 4), torch.rand(5, 3, 4, 4)
        >>> network_agreement(METHODS["paper"].maps, similarity, inputs=inputs, shares=[1.0]).shape
        torch.Size([1, 5, 2])
    """
    maps = method(similarity, inputs, target)
    altered = (randomised(similarity, inputs[0], share=share, seed=seed) for share in shares)
    return torch.stack([_pair_agreement(maps, method(random, inputs, target)) for random in altered])


def readout_agreement(
    method: PairMethod,
    similarity: NeuronSimilarity,
    *,
    inputs: Pair,
    target: TargetType = None,
    seed: int = 0,
) -> Float[Tensor, "pair 2"]:
    """Compare maps with those for readouts that give the same weights to other features.

    Args:
        method: what makes the maps.
        similarity: the twins and the neurons.
        inputs: the pairs (images, references).
        target: the neuron, as in Captum.
        seed: of the permutation of the features, one for all neurons.

    Returns:
        :func:`map_agreement` of the images' and of the references' maps; 1 where all weights are equal, or where the
        method does not look at the neuron.

    Example:
        >>> from captum_shared.methods.registry import METHODS
        >>> from captum_shared.neurons.readout import LinearReadout
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(48))
        >>> inputs = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
        >>> readout_agreement(METHODS["paper"].maps, similarity, inputs=inputs).round(decimals=6)
        tensor([[1., 1.]], dtype=torch.float64)
    """
    readout = similarity.readout
    order = torch.randperm(readout.n_features, generator=torch.Generator().manual_seed(seed))
    weight = readout.weight[:, order.to(readout.weight.device)]
    permuted = copy.deepcopy(readout)  # with all that it knows of its examples
    permuted.weight = weight
    other = similarity.with_readout(permuted, excitatory=similarity.excitatory)
    return _pair_agreement(method(similarity, inputs, target), method(other, inputs, target))


def reference_agreement(
    method: PairMethod, similarity: NeuronSimilarity, *, inputs: Pair, target: TargetType = None
) -> Float[Tensor, " pair"]:
    """Compare the images' maps with those that they have beside the reference of the next pair.

    Args:
        method: what makes the maps.
        similarity: the twins and the neurons.
        inputs: at least two pairs (images, references).
        target: the neuron, as in Captum.

    Returns:
        :func:`map_agreement` of the images' maps; 1 for methods that do not look at the reference.

    Raises:
        ValueError: if there is only one pair.

    Example:
        >>> from captum_shared.methods.registry import METHODS
        >>> from captum_shared.neurons.readout import LinearReadout
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(48))
        >>> inputs = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4)
        >>> reference_agreement(METHODS["edge-energy"].maps, similarity, inputs=inputs).round(decimals=6)
        tensor([1., 1.], dtype=torch.float64)
    """
    images, references = inputs
    if len(references) < 2:
        raise ValueError("Expected at least two pairs, whose references can be swapped, but got one. Add another.")
    swapped = method(similarity, (images, references.roll(1, 0)), target)
    return map_agreement(method(similarity, inputs, target)[0], swapped[0])


def randomised(similarity: NeuronSimilarity, images: Tensor, *, share: float, seed: int = 0) -> NeuronSimilarity:
    """Copy a similarity with the weights of the network's top layers randomised.

    The entries of each parameter are permuted (a choice): nothing that was learned stays in place, but the scale of
    the activations stays that of a network. Layers are the modules that hold parameters and run, in the order in which
    they start to; buffers, such as the statistics of batch normalisation, stay.

    Args:
        similarity: the twins and the neurons. The readout, which is no part of the network, stays.
        images: an image or more that the network can run on.
        share: which share of the layers, counted from the top and rounded up; above 0 and at most 1.
        seed: of the permutations.

    Returns:
        New twins with weights of their own.

    Raises:
        ValueError: if the share is out of range, no module that holds parameters runs, or there are two encoders.

    Example:
        >>> from captum_shared.neurons.readout import LinearReadout
        >>> encoder = nn.Sequential(nn.Flatten(), nn.Linear(3, 4))
        >>> random = randomised(NeuronSimilarity(encoder, LinearReadout.uniform(4)), torch.rand(1, 3, 1, 1), share=1.0)
        >>> before, after = (layers[1].weight.detach().flatten() for layers in (encoder, random.image_features))
        >>> torch.equal(before, after), torch.equal(before.sort().values, after.sort().values)
        (False, True)
    """
    if not 0 < share <= 1:
        raise ValueError(f"Expected a share of the layers above 0 and at most 1, got {share}.")
    encoder, other = similarity.encoders
    if encoder is not other:
        raise ValueError("Expected one encoder of images and references, whose layers have one order, but got two.")
    encoder = tied_copy(encoder, copy.deepcopy)
    layers = _layers_from_the_top(encoder, images[:1])
    if not layers:
        raise ValueError("Expected a network with weights, but no module of the encoder that holds any runs.")
    generator = torch.Generator().manual_seed(seed)
    for layer in layers[: math.ceil(share * len(layers))]:
        for parameter in layer:
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.data = parameter.data.flatten()[order].reshape(parameter.shape)
    return NeuronSimilarity(encoder, similarity.readout, excitatory=similarity.excitatory, any_encoder=True)


def _layers_from_the_top(encoder: nn.Module, images: Tensor) -> list[list[nn.Parameter]]:
    """Parameters of each module that runs, with those of parts that do not run by themselves; the last comes first."""
    started: dict[nn.Module, None] = {}
    holders = [module for module in encoder.modules() if list(module.parameters(recurse=False))]
    with torch.no_grad(), evaluation_mode(encoder):
        encoder(images)  # the first pass of a network that cannot be traced runs beyond the cut
        hooks = [holder.register_forward_pre_hook(lambda module, _: started.setdefault(module)) for holder in holders]
        encoder(images)
    for hook in hooks:
        hook.remove()
    return [
        [
            parameter
            for part in holder.modules()
            if part is holder or part not in started
            for parameter in part.parameters(recurse=False)
        ]
        for holder in reversed(started)
    ]


def _pair_agreement(maps: Pair, others: Pair) -> Float[Tensor, "pair 2"]:
    return torch.stack([map_agreement(*sides) for sides in zip(maps, others, strict=True)], 1)
