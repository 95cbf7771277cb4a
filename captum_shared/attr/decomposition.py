r"""Which part matches which part: the correspondence of two images, split into a few components.

The correspondence C (:mod:`captum_shared.attr.places`) is split by a non-negative factorisation of its square root, so
that faint parts count too, into the components that leave the least Kullback–Leibler divergence:

.. math:: \sqrt{C(p, q)} \approx \sum_k W_{pk} H_{kq}, \qquad
    C_k(p, q) = C(p, q) \, \frac{W_{pk} H_{kq}}{\sum_j W_{pj} H_{jq}}

What the factors leave over is handed back in their proportion, so that the components sum to C exactly, and their maps
to the maps of :class:`~captum_shared.SharedCorrespondence`.
"""

from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from captum_shared.attr._captum import TargetType
from captum_shared.attr.correspondence import activations_at_cut, check_corresponds, compared
from captum_shared.attr.pairs import Pair, checked_pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.windows import local_features

MOST: Final = 6
"""The most components that are chosen automatically: more cannot be told apart by their colours."""

ENOUGH: Final = 0.1
"""The divergence, in nats, below which no further component is looked for: chosen on drawn pairs on which nothing is
reported (``benchmarks/components.py``). One component leaves 0.69 of two separate parts of equal strength."""

_TOLERANCE, _MOST_ROUNDS = 1e-4, 2000


@final
@dataclass(frozen=True, eq=False)
class Components:
    """Parts of an image and the parts of the reference that they match, the strongest first.

    Attributes:
        correspondences: :math:`C_k`, which sum to the correspondence of the pair.
        image_maps: where each component is in the image, not negative; they sum to the map of the image.
        reference_maps: where it is in the reference; they sum to the map of the reference.
        strengths: how strongly every neuron is driven by each component: the smaller of the two responses, above its
            mean, that the features at the component's positions predict in image and reference, 0 if one of them is
            below the mean; in the unit of the readout's responses.
        neuron_names: names of these neurons.
        residual: how far C is from the outer products of the maps (as if within a component every position matched
            every other), as a share of its Frobenius norm.
        unexplained: the share of C's sum that these put elsewhere.

    Example:
        >>> maps = torch.tensor([[3.0, 0.0], [0.0, 1.0]])[:, None, None]
        >>> pairs = torch.tensor([[[3.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])
        >>> found = Components(pairs, maps, maps, torch.tensor([[2.0, 0.0], [0.0, 5.0]]), ("A", "B"), 0.0, 0.0)
        >>> found.shares, found.drivers(1)
        (tensor([0.7500, 0.2500]), {'B': 5.0})
    """

    correspondences: Float[Tensor, "component position reference_position"]
    image_maps: Float[Tensor, "component 1 row column"]
    reference_maps: Float[Tensor, "component 1 reference_row reference_column"]
    strengths: Float[Tensor, "component neuron"]
    neuron_names: tuple[str, ...]
    residual: float
    unexplained: float

    def __len__(self) -> int:
        """Number of components; none if the pair shares nothing."""
        return len(self.image_maps)

    @property
    def agreement(self) -> float:
        """The sum of the correspondence, between 0 and 1, which the components share out."""
        return float(self.image_maps.sum())

    @property
    def shares(self) -> Float[Tensor, " component"]:
        """The share of the agreement that is each component's."""
        total = self.image_maps.sum()
        return self.image_maps.sum((1, 2, 3)) / torch.where(total > 0, total, 1)

    def of_pixels(self, maps: Pair) -> Pair:
        """Share out maps of the pixels among the components, in proportion to their maps at the layer.

        Args:
            maps: of this image and its reference, (1, 1, height, width) each, such as
                :class:`~captum_shared.PixelSharedCorrespondence`'s.

        Returns:
            Maps of every component in image and reference, (component, 1, height, width), which sum to these maps.
        """
        image, reference = (
            _shared_out(one, parts) for one, parts in zip(maps, (self.image_maps, self.reference_maps), strict=True)
        )
        return image, reference

    def drivers(self, component: int, most: int = 3) -> dict[str, float]:
        """Return the neurons that a component drives in both images, the strongest first; none if there is but one.

        Args:
            component: its index.
            most: how many neurons at most.

        Returns:
            Strengths by name of the neuron; those of zero are left out.
        """
        if len(self.neuron_names) == 1:
            return {}
        strongest = self.strengths[component].argsort(descending=True, stable=True)[:most].tolist()
        strengths = {self.neuron_names[neuron]: float(self.strengths[component, neuron]) for neuron in strongest}
        return {name: strength for name, strength in strengths.items() if strength > 0}


@torch.no_grad()
def components(
    similarity: NeuronSimilarity,
    inputs: Pair,
    target: TargetType = None,
    *,
    n_components: int | Literal["auto"] = "auto",
) -> Components:
    """Split what two images share for a neuron into parts that match each other.

    Args:
        similarity: encoder and readout, as for :class:`~captum_shared.SharedCorrespondence`.
        inputs: one pair (image, reference), each (1, channel, height, width).
        target: the neuron, as anywhere in Captum.
        n_components: how many parts, at least 1; fewer are returned where the correspondence has fewer. ``"auto"``
            takes the smallest number that leaves a divergence below :data:`ENOUGH`, at most :data:`MOST`.

    Returns:
        The components, on the device of the features; none if the pair shares nothing.

    Raises:
        TypeError: as :class:`~captum_shared.SharedCorrespondence` and its ``correspondence``.
        ValueError: likewise, or if there is more than one pair, or ``n_components`` is wrong.
        RuntimeError: in inference mode.

    Warns:
        UserWarning: if the ``feature_mean`` of the readout is zero.

    Example:
        >>> from torch import nn
        >>> from captum_shared.encoders.features import LatentFeatures
        >>> from captum_shared.neurons.readout import LinearReadout
        >>> network = nn.Conv2d(2, 2, 1, bias=False)
        >>> network.weight.data = torch.eye(2)[:, :, None, None]
        >>> readout = LinearReadout([[3.0, 2.0], [1.0, -1.0]], feature_mean=[0.1, 0.1], neuron_names=["A", "B"])
        >>> similarity = NeuronSimilarity(LatentFeatures(nn.Sequential(network), "0"), readout)
        >>> image = torch.zeros(1, 2, 9, 9)
        >>> image[0, 0, 1:4, 1:4], image[0, 1, 5:8, 5:8] = 1, 1
        >>> found = components(similarity, (image, image.flip(3)), target=0)
        >>> len(found), found.drivers(0).keys(), found.drivers(1).keys()
        (2, dict_keys(['A', 'B']), dict_keys(['A']))
    """
    check_corresponds(similarity, "components")
    _check_number(n_components)
    pair = checked_pair(inputs)
    if len(pair[0]) != 1:
        raise ValueError(f"Expected one pair, of shape (1, channel, height, width) each, got {len(pair[0])} pairs.")
    cuts = activations_at_cut(similarity, pair)
    correspondence = compared(similarity, cuts, target)[0]
    parts = torch.from_numpy(split(correspondence.double().cpu().numpy(), n_components)).to(correspondence)
    parts = parts[parts.sum((1, 2)).argsort(descending=True, stable=True)]
    image_maps, reference_maps = parts.sum(2), parts.sum(1)
    residual, unexplained = _left_over(correspondence, image_maps, reference_maps)
    return Components(
        parts,
        image_maps.reshape(-1, 1, *cuts[0].shape[2:]),
        reference_maps.reshape(-1, 1, *cuts[1].shape[2:]),
        torch.minimum(*(_driven(similarity, *each) for each in zip(cuts, (image_maps, reference_maps), strict=True))),
        similarity.readout.neuron_names,
        residual,
        unexplained,
    )


def split(
    correspondence: Float[ndarray, "position reference_position"], n_components: int | Literal["auto"] = "auto"
) -> Float[ndarray, "component position reference_position"]:
    r"""Split a correspondence into components: :math:`C_k`.

    Args:
        correspondence: C, not negative.
        n_components: as for :func:`components`.

    Returns:
        Components in no order, which sum to C; those that would be zero are left out.

    Example:
        >>> split(np.diag([4.0, 1.0, 0.0])).round(3).sum((1, 2))
        array([4., 1.])
    """
    rows, columns = correspondence.any(1), correspondence.any(0)
    shared = correspondence[np.ix_(rows, columns)]
    parts = np.zeros((0, *correspondence.shape))
    if not shared.size:
        return parts
    root = np.sqrt(shared / shared.max())
    highest = min(root.shape)
    numbers = range(1, min(MOST, highest) + 1) if n_components == "auto" else [min(n_components, highest)]
    for number in numbers:
        left, right = _factors(root, number)
        products = left.T[:, :, None] * right[:, None]
        if _divergence(root, products.sum(0)) < ENOUGH:
            break
    parts = np.zeros((number, *correspondence.shape))
    parts[:, np.outer(rows, columns)] = (shared * products / products.sum(0)).reshape(number, -1)
    return parts[parts.any((1, 2))]


def _factors(root: Float[ndarray, "row column"], number: int) -> tuple[ndarray, ndarray]:
    """The factors, which are nowhere so small that no component were left for an entry."""
    from sklearn.decomposition import NMF  # slow to import

    if number == 1:  # for which there is a formula
        return root.sum(1, keepdims=True), root.sum(0, keepdims=True) / root.sum()
    model = NMF(
        number,
        solver="mu",
        beta_loss="kullback-leibler",
        init="nndsvda",
        tol=_TOLERANCE,
        max_iter=_MOST_ROUNDS,
        random_state=0,
    )
    left = model.fit_transform(root)
    least = np.sqrt(np.finfo(np.float64).tiny)
    return np.maximum(left, least), np.maximum(model.components_, least)


def _divergence(root: Float[ndarray, "row column"], reproduced: Float[ndarray, "row column"]) -> float:
    """Kullback–Leibler divergence in nats, for a sum of one."""
    present = root > 0
    first, second = root[present] / root.sum(), reproduced[present] / reproduced.sum()
    return float((first * np.log(first / second)).sum())


def _left_over(correspondence: Tensor, image_maps: Tensor, reference_maps: Tensor) -> tuple[float, float]:
    """What the outer products of the maps leave: the residual and the share of the sum."""
    if not len(image_maps):
        return 0.0, 0.0
    reproduced = torch.einsum("kp,kq->pq", image_maps / image_maps.sum(1, keepdim=True), reference_maps)
    error = correspondence - reproduced
    return float(error.norm() / correspondence.norm()), float(error.abs().sum() / correspondence.sum() / 2)


def _driven(similarity: NeuronSimilarity, cut: Tensor, maps: Tensor) -> Float[Tensor, "component neuron"]:
    """Predicted response of every neuron, above its mean, at the positions of each component."""
    local = local_features(cut, similarity.readout.feature_mean.to(cut))[0]
    return (maps / maps.sum(1, keepdim=True) @ local @ similarity.readout.weight.to(cut).T).clamp(min=0)


def _shared_out(whole: Tensor, maps: Tensor) -> Tensor:
    """A map of the pixels, shared out; where no component is, among all of them by their strength."""
    upsampled = functional.interpolate(maps.to(whole), whole.shape[2:], mode="bilinear", align_corners=False)
    upsampled = upsampled + torch.finfo(whole.dtype).eps * maps.to(whole).mean((1, 2, 3), keepdim=True)
    total = upsampled.sum(0, keepdim=True)
    return whole * upsampled / torch.where(total > 0, total, 1)


def _check_number(n_components: object) -> None:
    if n_components != "auto" and not (isinstance(n_components, int) and n_components >= 1):
        raise ValueError(f"n_components must be 'auto' or a number of at least 1, but is {n_components!r}.")
