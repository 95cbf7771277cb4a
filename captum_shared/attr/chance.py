r"""Whether what two images share is more than chance: a map against those with references that do not drive the neuron.

A pair has one map of the image, :math:`M_0`, and others of the same image with null references, :math:`M_1` to
:math:`M_n`. If the reference shares no more with the image than they do, any order of these maps is as probable as any
other, and so it is of the maxima of

.. math:: Z_i(p) = \frac{M_i(p) - \bar M(p)}{s(p) + \bar s}

with mean and standard deviation s over all of them, at each position, and :math:`\bar s` the mean of s over positions,
so that z is not extreme where hardly anything varies. So the rank of the largest value of :math:`Z_0` is a test of the
whole map at once. The map of the reference is tested likewise, with null references in place of the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from captum_shared.attr._captum import TargetType
from captum_shared.attr.correspondence import activations_at_cut, check_corresponds, places_at
from captum_shared.attr.pairs import Pair, checked_pair
from captum_shared.attr.places import Places, compared_places
from captum_shared.attr.similarity import NeuronSimilarity

_BATCH = 16


@final
@dataclass(frozen=True, eq=False)
class Significance:
    """Maps against chance.

    Attributes:
        z_maps: of the images and of the references: by how many (moderated) standard deviations a position is above the
            mean of the null maps.
        thresholds: of image and reference of each pair: what no position exceeds by chance, but in a share of ``level``
            of all maps.
        p_values: likewise, of the largest z; at least 1 / (1 + number of null maps).
        level: the probability of any significant position in a map where nothing is shared.

    Example:
        >>> z = torch.tensor([[[[0.5, 3.0]]]])
        >>> Significance((z, z), torch.tensor([[2.0, 3.5]]), torch.tensor([[0.02, 0.2]]), 0.05).regions
        (tensor([[[[False,  True]]]]), tensor([[[[False, False]]]]))
    """

    z_maps: tuple[Float[Tensor, "image 1 row column"], Float[Tensor, "image 1 reference_row reference_column"]]
    thresholds: Float[Tensor, "image 2"]
    p_values: Float[Tensor, "image 2"]
    level: float

    @property
    def regions(
        self,
    ) -> tuple[Bool[Tensor, "image 1 row column"], Bool[Tensor, "image 1 reference_row reference_column"]]:
        """The significant positions of the images and of the references."""
        image, reference = (
            z_map > threshold[:, None, None, None]
            for z_map, threshold in zip(self.z_maps, self.thresholds.unbind(1), strict=True)
        )
        return image, reference

    def of_pixels(
        self, size: tuple[int, int], reference_size: tuple[int, int] | None = None
    ) -> tuple[Bool[Tensor, "image height width"], Bool[Tensor, "image reference_height reference_width"]]:
        """Return the significant pixels, for an outline: where z, interpolated, is above the threshold.

        Args:
            size: height and width of the images.
            reference_size: those of the references, if they are others.

        Returns:
            Pixels of the images and of the references.
        """
        sizes = size, reference_size or size
        image, reference = (
            functional.interpolate(z_map, pixels, mode="bilinear", align_corners=False)[:, 0] > threshold[:, None, None]
            for z_map, pixels, threshold in zip(self.z_maps, sizes, self.thresholds.unbind(1), strict=True)
        )
        return image, reference


@torch.no_grad()
def significance(
    similarity: NeuronSimilarity,
    inputs: Pair,
    target: TargetType = None,
    *,
    null_references: Float[Tensor, "null_reference channel height width"],
    null_neurons: Sequence[int] = (),
    level: float = 0.05,
) -> Significance:
    """Test the two maps of each pair against those with references that do not drive the neuron.

    The test is exact for a reference (and for the map of the reference: for an image) that is like the null references.
    Take these from the same kind of images, without what drives the neuron. What an image and a null reference share by
    accident is part of the null.

    Args:
        similarity: encoder and readout, as for :class:`~captum_shared.SharedCorrespondence`; both images of a pair are
            of one kind.
        inputs: the pair (images, references), each (image, channel, height, width).
        target: the neuron, as anywhere in Captum.
        null_references: images that do not drive the neuron, for all pairs. There have to be
            1 / ``level`` - 1, together with the neurons: 19 for 0.05; more of them make the threshold more certain.
        null_neurons: other neurons of the readout, whose maps of the same pair count as chance too. What many neurons
            see in a pair is then not significant for one.
        level: the probability of any significant position in a map where nothing is shared.

    Returns:
        The z-maps at the cut, with their thresholds and p-values.

    Raises:
        TypeError: as :class:`~captum_shared.SharedCorrespondence` and its ``correspondence``.
        ValueError: likewise, or if there are too few null references for the level, a null neuron is the one that is
            tested, or ``level`` is not between 0 and 1.
        RuntimeError: in inference mode.

    Warns:
        UserWarning: if the ``feature_mean`` of the readout is zero.

    Example:
        >>> from torch import nn
        >>> from captum_shared.encoders.features import LatentFeatures
        >>> from captum_shared.neurons.readout import LinearReadout
        >>> features = LatentFeatures(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), "1")
        >>> similarity = NeuronSimilarity(features, LinearReadout(torch.randn(5, 4), feature_mean=torch.rand(4)))
        >>> pair = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
        >>> significance(similarity, pair, target=3, null_references=torch.rand(19, 3, 8, 8)).p_values.shape
        torch.Size([2, 2])
    """
    check_corresponds(similarity, "significance")
    pair = checked_pair(inputs)
    neurons = similarity.neurons(len(pair[0]), target).tolist()
    _check_nulls(len(null_references), null_neurons, neurons, level)
    cuts, nulls = _cuts(similarity, *pair), _cuts(similarity, null_references, null_references)
    places, null_places = ((places_at(similarity, cut[0]), places_at(similarity, cut[1])) for cut in (cuts, nulls))
    grids = [tuple(cut.shape[2:]) for cut in cuts]
    tested = significance_of(places, neurons, nulls=null_places, null_neurons=null_neurons, level=level)
    image_z, reference_z = (each.reshape(-1, 1, *grid) for each, grid in zip(tested.z_maps, grids, strict=True))
    return replace(tested, z_maps=(image_z, reference_z))


def significance_of(
    places: tuple[Places, Places],
    neurons: Sequence[int],
    *,
    nulls: tuple[Places, Places],
    null_neurons: Sequence[int] = (),
    level: float = 0.05,
) -> Significance:
    """Test pairs as :func:`significance` does, where all images have been read place by place.

    Args:
        places: of the images and of the references.
        neurons: the neuron of each pair.
        nulls: null images, for the maps of the references, and null references, for those of the images.
        null_neurons: as of :func:`significance`.
        level: likewise.

    Returns:
        What :func:`significance` returns, with a z-map of one row.
    """
    thresholds, p_values = [], []
    z_maps: tuple[list[Tensor], list[Tensor]] = [], []
    for index, neuron in enumerate(neurons):
        image, reference = (each[index : index + 1] for each in places)
        both = _compared(image, reference, [neuron, *null_neurons])
        sides = (
            torch.cat([both.sum(2), _maps_against(image, nulls[1], neuron)]),
            torch.cat([both.sum(1), _maps_against(reference, nulls[0], neuron)]),
        )
        tested = [against_chance(maps, level) for maps in sides]
        for side, (z_map, _, _) in zip(z_maps, tested, strict=True):
            side.append(z_map)
        thresholds.append([threshold for _, threshold, _ in tested])
        p_values.append([p_value for _, _, p_value in tested])
    image_z, reference_z = (torch.stack(side)[:, None, None] for side in z_maps)
    return Significance((image_z, reference_z), image_z.new_tensor(thresholds), image_z.new_tensor(p_values), level)


def against_chance(
    maps: Float[Tensor, "map position"], level: float
) -> tuple[Float[Tensor, " position"], float, float]:
    """Test the first map against all others.

    Args:
        maps: the map to test, and null maps, at least 1 / ``level`` - 1.
        level: the probability of any significant position, if the first map is like the others.

    Returns:
        Its z, the threshold, and the p-value of the largest z.

    Example:
        >>> against_chance(torch.tensor([[3.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 0.0]]), level=0.25)[1:]
        (0.0, 0.25)
    """
    maps = maps.double()
    spread = maps.std(0)
    unit = spread + spread.mean()
    z = (maps - maps.mean(0)) / torch.where(unit > 0, unit, 1)
    largest, *null_largest = z.amax(1).tolist()
    rank = 1 + sum(each >= largest for each in null_largest)
    highest = sorted(null_largest, reverse=True)[_most_ranks(len(maps), level) - 1]
    return z[0], highest, rank / len(maps)


def _most_ranks(n_maps: int, level: float) -> int:
    """The last rank that is significant."""
    return int(level * n_maps + 1e-9)


def _cuts(similarity: NeuronSimilarity, images: Tensor, references: Tensor) -> Pair:
    """Activations of images and references at the cut."""
    batches = [
        activations_at_cut(similarity, pair)
        for pair in zip(torch.split(images, _BATCH), torch.split(references, _BATCH), strict=True)
    ]
    return torch.cat([image for image, _ in batches]), torch.cat([reference for _, reference in batches])


def _compared(image: Places, reference: Places, neurons: Sequence[int]) -> Tensor:
    """Correspondences of one pair for many neurons."""
    batches = torch.split(torch.tensor(neurons, device=image.features.device), _BATCH)
    return torch.cat(
        [compared_places(image.expand(len(batch)), reference.expand(len(batch)), batch) for batch in batches]
    )


def _maps_against(image: Places, others: Places, neuron: int) -> Float[Tensor, "other position"]:
    """Maps of one image with many others; the correspondence is the same whichever of the two comes first."""
    starts = range(0, len(others.features), _BATCH)
    batches = [others[start : start + _BATCH] for start in starts]
    neurons = [torch.full((len(batch.features),), neuron, device=image.features.device) for batch in batches]
    return torch.cat(
        [
            compared_places(image.expand(len(each)), batch, each).sum(2)
            for batch, each in zip(batches, neurons, strict=True)
        ]
    )


def _check_nulls(n_references: int, null_neurons: Sequence[int], neurons: Sequence[int], level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is a probability between 0 and 1, but is {level}.")
    n_maps = 1 + n_references + len(null_neurons)
    if n_references < 1 or _most_ranks(n_maps, level) < 1:
        raise ValueError(
            f"A level of {level} needs {round(1 / level + 0.499) - 1} or more null references, but there are "
            f"{n_references} (and {len(null_neurons)} null neurons). Give more, or a higher level."
        )
    if set(null_neurons) & set(neurons):
        raise ValueError(f"null_neurons are others than those tested, but hold {set(null_neurons) & set(neurons)}.")
