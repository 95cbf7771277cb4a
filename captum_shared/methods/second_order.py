r"""Second-order methods: a similarity broken up over pairs of pixels, summed over the pixels of the other image.

Both start from a similarity that is a dot product of embeddings, here the neuron's own,

.. math:: s(x, r) = \frac{1}{N} \sum_j \varphi_j(x)\, \varphi_j(r), \qquad \varphi = w \circ v, \qquad
    N = \lVert \varphi(x) \rVert \lVert \varphi(r) \rVert \text{ held constant,}

and give pixel i of x and pixel l of r the relevance :math:`R_{il} = \sum_j R_{ij}(x)\, R_{lj}(r) / N`, where
:math:`R_{ij}(x)` breaks up :math:`\varphi_j(x)` over the pixels of x. The map of x is the sum of all its pairs. As a
method that keeps what it breaks up has :math:`\sum_l R_{lj}(r) = \varphi_j(r)`, that is

.. math:: R_i(x) = \sum_l R_{il} = \frac{1}{N} \sum_j \varphi_j(r)\, R_{ij}(x),

and as these methods are linear in what they break up, it is one pass for the function
:math:`x \mapsto u \cdot f(x)` with :math:`u = w \circ \varphi(r) / N` held constant, whatever the number of features.
The maps of the paper are of the same function with h = u ∘ v(x) in place of u.
"""

import operator
from collections.abc import Callable
from typing import Any, Final, final

import torch
from captum.attr import IntegratedGradients, LayerGradientXActivation
from jaxtyping import Float
from torch import Tensor, fx, nn

from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.photographs import mid_grey
from captum_shared.encoders.twins import tied_copy
from captum_shared.methods.explained import cut_at_positions
from captum_shared.methods.method import Method
from captum_shared.methods.ours import CENTRED, PAPER
from captum_shared.methods.peers import peer
from captum_shared.methods.sampling import BATCH, N_SAMPLES

_GAMMA: Final = 0.25


def bilrp(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    r"""Compute BiLRP, :math:`R_{ij}` being layer-wise relevance propagation, summed over the other image.

    What LRP passes on is what it is given but for biases, which keep a part; the marginal above takes it as kept, so
    it needs two passes instead of two for each feature. Readout, centring and pooling are passed by LRP-0, which is
    gradient times activation; see :func:`relevance_of_pixels` for the network.

    Args:
        similarity: twins of :class:`~captum_shared.LatentFeatures`.
        inputs: the pair (images, references).
        target: the neuron of each pair.

    Returns:
        Signed maps of the images and of the references, of the shape of each.

    Raises:
        ImportError: if zennit is not installed.
        TypeError: if the encoder has no cut.
        ValueError: if it is cut at a layer without positions.

    Source:
        Eberle et al., Building and Interpreting Deep Similarity Models, TPAMI 2022. There the similarity is the dot
        product of embeddings, unweighted and not divided by their norms.

    Example:
        >>> from captum_shared.neurons.readout import LinearReadout
        >>> encoder = LatentFeatures(nn.Sequential(nn.Conv2d(3, 2, 3, bias=False), nn.ReLU()), "1")
        >>> similarity = NeuronSimilarity(encoder, LinearReadout.uniform(2))
        >>> images, references = torch.rand(2, 1, 3, 8, 8, requires_grad=True)
        >>> image_map, reference_map = bilrp(similarity, (images, references), torch.tensor([0]))
        >>> torch.allclose(image_map.sum(), reference_map.sum(), rtol=1e-3)
        True
    """
    twins = similarity.image_features, similarity.reference_features
    encoders = [cut_at_positions(twin, images) for twin, images in zip(twins, inputs, strict=True)]
    with torch.no_grad():
        image_features, reference_features = map(similarity.centered, similarity.latent_features(*inputs))
    maps = []
    both = _slopes(similarity, image_features, reference_features, target)
    for features, images, slopes in zip(encoders, inputs, both, strict=True):
        method = LayerGradientXActivation(_projection(features), features.cut)
        at_cut = method.attribute(images, additional_forward_args=(slopes,))
        maps.append(relevance_of_pixels(features, images, at_cut.detach()))
    return maps[0], maps[1]


def integrated_jacobians(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    r"""Attribute by integrated Jacobians, summed over the other image.

    :math:`R_{ij}` is integrated gradients of :math:`\varphi_j` from mid-grey, and :math:`\varphi` is measured from
    its value there in place of the readout's mean, as the authors do, so that the map of each image sums to the
    cosine of the two embeddings, exactly in the limit of many steps.

    Args:
        similarity: the twins.
        inputs: the pair (images, references).
        target: the neuron of each pair.

    Returns:
        Signed maps of the images and of the references, of the shape of each.

    Source:
        Möller, Nikolaev and Padó, An Attribution Method for Siamese Encoders, EMNLP 2023, with the cosine of their
        Approximate Attributions for Off-the-Shelf Siamese Transformers, EACL 2024.

    Example:
        >>> from captum_shared.neurons.readout import LinearReadout
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(2))
        >>> image, reference = torch.tensor([[[[3.5]], [[4.5]]]]), torch.tensor([[[[3.5]], [[0.5]]]])
        >>> integrated_jacobians(similarity, (image, reference), torch.tensor([0]))[0].flatten()
        tensor([0.6000, 0.0000])
    """
    twins = similarity.image_features, similarity.reference_features
    first, second = (mid_grey(twin, images) for twin, images in zip(twins, inputs, strict=True))
    with torch.no_grad():
        shift = similarity.latent_features(first, second)
        features = similarity.latent_features(*inputs)
    slopes = _slopes(similarity, features[0] - shift[0], features[1] - shift[1], target)
    maps = [
        IntegratedGradients(_projection(twin)).attribute(
            images,
            grey,
            additional_forward_args=(each,),
            n_steps=N_SAMPLES,
            internal_batch_size=max(BATCH, len(images)),
        )
        for twin, images, grey, each in zip(twins, inputs, (first, second), slopes, strict=True)
    ]
    return maps[0], maps[1]


def relevance_of_pixels(
    features: LatentFeatures,
    images: Float[Tensor, "image channel height width"],
    at_cut: Float[Tensor, "image feature rows columns"],
) -> Float[Tensor, "image channel height width"]:
    """Propagate relevance from the cut to the pixels, by zennit's rules.

    The first convolution has the w² rule, which needs no bounds of pixels; the others LRP-γ with γ = 0.25 as zennit's
    composites have it (the authors: 0.5 at the bottom to 0 at the top of VGG); sums and average pooling share relevance
    out by what each part adds; batch normalisation becomes part of the convolution before it; activations pass
    relevance on. Products, as in attention, are passed as by the gradient, and so is all that a network does in
    functions where it cannot be traced.

    Args:
        features: the network up to the cut.
        images: its inputs.
        at_cut: relevance of each activation at the cut.

    Returns:
        Relevance of each pixel and channel.

    Raises:
        ImportError: if zennit is not installed.

    Example:
        >>> features = LatentFeatures(nn.Sequential(nn.Conv2d(3, 2, 3)), "0")
        >>> relevance_of_pixels(features, torch.rand(1, 3, 3, 3), torch.ones(1, 2, 1, 1)).sum().round(decimals=3)
        tensor(2.)
    """
    types, rules, composites = (peer(f"zennit.{name}") for name in ("types", "rules", "composites"))
    network, merged = _canonical(features.network)
    composite = composites.SpecialFirstLayerMapComposite(
        layer_map=[
            *composites.layer_map_base(),
            (types.Convolution, rules.Gamma(_GAMMA)),
            (nn.Linear, rules.Epsilon()),
        ],
        first_map=[(types.Convolution, rules.WSquare(zero_params=["bias"]))],
        canonizers=[peer("zennit.canonizers").NamedMergeBatchNorm(merged)],
    )
    images = images.detach().requires_grad_()
    with composite.context(network):
        activation = features.pooling.activation(network(images), images)
        (relevance,) = torch.autograd.grad(activation, images, at_cut)
    return relevance


@final
class _Sum(nn.Module):
    """A sum that zennit's rules can see."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = peer("zennit.layer").Sum()

    def forward(self, first: Any, second: Any) -> Any:
        alike = isinstance(first, Tensor) and isinstance(second, Tensor) and first.shape == second.shape
        return self.sum(torch.stack((first, second), -1)) if alike else first + second


def _canonical(network: nn.Module) -> tuple[nn.Module, list[tuple[tuple[str], str]]]:
    """Copy a network with its sums as modules; and name each convolution that a batch normalisation follows."""
    network = tied_copy(network, _own_view)
    if not isinstance(network, fx.GraphModule):
        return network, []
    merged = []
    for number, node in enumerate(list(network.graph.nodes)):
        if node.target in (operator.add, torch.add) and len(node.args) == 2 and not node.kwargs:
            node.op, node.target = "call_module", f"zennit_sum_{number}"
            network.add_module(str(node.target), _Sum())
        elif _calls(nn.BatchNorm2d, node, network):
            (before,) = node.all_input_nodes
            if _calls(nn.Conv2d, before, network) and len(before.users) == 1:
                merged.append(((str(before.target),), str(node.target)))
    network.recompile()
    return network, merged


def _calls(kind: type[nn.Module], node: fx.Node, network: fx.GraphModule) -> bool:
    return node.op == "call_module" and isinstance(network.get_submodule(str(node.target)), kind)


def _own_view(tensor: Tensor) -> Tensor:
    """The same memory under a name of its own: zennit exchanges what a parameter holds while it works."""
    view = tensor.detach()
    return nn.Parameter(view, requires_grad=False) if isinstance(tensor, nn.Parameter) else view


def _projection(features: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the function x, u ↦ u·f(x)."""
    return lambda images, slopes: (slopes * features(images)).sum(1)


def _slopes(
    similarity: NeuronSimilarity, image_features: Tensor, reference_features: Tensor, target: Tensor
) -> tuple[Tensor, Tensor]:
    """Return u for the images and for the references; zero where either norm is."""
    weight = similarity.readout.weight.to(image_features)[target.to(image_features.device)]
    first, second = weight * image_features, weight * reference_features
    norms = (first.norm(dim=1) * second.norm(dim=1))[:, None]
    norms = torch.where(norms > 0, norms, torch.inf)
    return weight * second / norms, weight * first / norms


SECOND_ORDER: Final = (
    Method(
        "bilrp",
        "second-order",
        PAPER.shared_by(bilrp),
        kind="contribution",
        title="BiLRP",
        passes=(4, 2),
        package="zennit",
    ),
    Method(
        "bilrp-centred",
        "second-order",
        CENTRED.shared_by(bilrp),
        kind="contribution",
        title="BiLRP, centred",
        passes=(4, 2),
        package="zennit",
    ),
    Method(
        "integrated-jacobians",
        "second-order",
        integrated_jacobians,
        kind="contribution",
        title="integrated Jacobians",
        passes=(18, 16),
    ),
)
