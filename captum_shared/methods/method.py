"""A method: one record, and the one call that all methods share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from captum_shared.attr._captum import TargetType, captum_quiet
from captum_shared.attr.backpropagation import PairPass
from captum_shared.attr.heatmaps import Kind, heatmap
from captum_shared.attr.pairs import Pair, checked_pair
from captum_shared.attr.similarity import NeuronSimilarity

Call: TypeAlias = Callable[[NeuronSimilarity, Pair, Tensor], Pair]
"""From a similarity, a pair (images, references) and the neuron of each to signed maps of both."""

OfPass: TypeAlias = Callable[[PairPass, NeuronSimilarity, Tensor], Pair]
"""The same from a pass of the pair that is done, with the activations at both cuts where there are cuts."""

Family: TypeAlias = Literal["ours", "neuron", "similarity", "second-order", "trivial", "ceiling"]
"""What a method looks at (:data:`LOOKS_AT`)."""

LOOKS_AT: Final[dict[Family, str]] = {
    "ours": "what both images share and the neuron uses",
    "neuron": "the neuron's response to one image at a time",
    "similarity": "the similarity of the two images",
    "second-order": "the similarity, pixel by pixel of both",
    "trivial": "nothing of the network",
    "ceiling": "what the task knows",
}
"""What the methods of each family look at, in plain words."""


@final
@dataclass(frozen=True)
class Method:
    """A method under the call that all methods share. One's own joins by its name and a callable.

    Attributes:
        name: what it is called in tables.
        family: what it looks at; ``"neuron"`` is for methods that see one image at a time.
        call: from a similarity, a pair (images, references) that requires gradients, and the neuron of each pair as a
            tensor, to a pair of attributions (image, channel, height, width) of pixels or of a layer. The similarity is
            a copy of the caller's that belongs to this call, in evaluation mode (:meth:`NeuronSimilarity.own`), so that
            hooks may be set on it, also in several threads.
        kind: what the attributions are, which decides how they become heatmaps: gradients by pixels, contributions of
            pixels, or maps of a layer, as also those with one number a position; see
            :func:`~captum_shared.attr.heatmap`.
        title: what it is called above a map, in plain words; the name by default.
        of_pass: the same from one pass of the pair, where that is all it needs, so that several methods share it.
        passes: how often both images go through the network, forward and backward (as far as the pixels), or None
            where that is not known.
        absolute: whether each of its maps sums to a share, 0 where nothing is shared and at most 1, so that maps of
            all pairs, neurons and networks compare.
        package: name, as imported, of an optional package that runs it, or None.

    Raises:
        ValueError: if the family or the kind is unknown.

    Example:
        >>> from torch import nn
        >>> from captum_shared import LinearReadout
        >>> brightness = Method("brightness", "trivial", lambda similarity, pair, target: pair, kind="contribution")
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(12))
        >>> image_maps, reference_maps = brightness.maps(similarity, (torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)))
        >>> image_maps
        tensor([[[3., 3.],
                 [3., 3.]]])
    """

    name: str
    family: Family
    call: Call
    kind: Kind = field(kw_only=True)
    title: str = field(default="", kw_only=True)
    of_pass: OfPass | None = field(default=None, kw_only=True)
    passes: tuple[int, int] | None = field(default=None, kw_only=True)
    absolute: bool = field(default=False, kw_only=True)
    package: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.family not in get_args(Family):
            raise ValueError(f"family must be one of {', '.join(get_args(Family))}, but got {self.family!r}.")
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(get_args(Kind))}, but got {self.kind!r}.")
        object.__setattr__(self, "title", self.title or self.name)

    def attribute(
        self,
        similarity: NeuronSimilarity,
        inputs: Pair,
        target: TargetType = None,
        *,
        passed: PairPass | None = None,
    ) -> Pair:
        """Compute the attributions, signed and as they come.

        Args:
            similarity: encoder and readout.
            inputs: the pair (images, references), each (image, channel, height, width).
            target: the neuron, as in Captum, or its name: one for all pairs or one a pair.
            passed: a pass of the pair that is done already, for methods that can use it (``of_pass``).

        Returns:
            Attributions of the images and of the references, (image, channel, height, width), of pixels or of a layer.

        Raises:
            ImportError: if the package that runs the method is not installed.
            TypeError: if the method works at the cut and the encoder has none, or ``inputs`` is not a pair.
            ValueError: if the pair is empty, of unequal lengths or not finite, or the method gives something else than
                two attributions with four axes, an entry a pair, of the shape of the images unless it is of a layer.
        """
        pair = checked_pair(inputs)
        neurons = similarity.neurons(len(pair[0]), target).to(pair[0].device)
        with torch.enable_grad():
            if passed is None or self.of_pass is None:
                with similarity.own() as own, captum_quiet():
                    maps = self.call(own, pair, neurons)
            else:
                maps = self.of_pass(passed, similarity, neurons)
        self._check(maps, pair)
        first, second = (each.detach().to(images.dtype) for each, images in zip(maps, pair, strict=True))
        return first, second

    def maps(
        self, similarity: NeuronSimilarity, inputs: Pair, target: TargetType = None
    ) -> tuple[Float[Tensor, "image height width"], Float[Tensor, "image reference_height reference_width"]]:
        """Compute heatmaps.

        Args:
            similarity: encoder and readout.
            inputs: the pair (images, references), as in :meth:`attribute`.
            target: the neuron, as in Captum.

        Returns:
            :meth:`heatmaps` of the attributions.

        Raises:
            ImportError: as :meth:`attribute`, which also raises what else can be wrong.
        """
        return self.heatmaps(self.attribute(similarity, inputs, target), inputs)

    def heatmaps(
        self, attributions: Pair, inputs: Pair
    ) -> tuple[Float[Tensor, "image height width"], Float[Tensor, "image reference_height reference_width"]]:
        """Reduce attributions of this method to heatmaps, as it suits their kind (:func:`~captum_shared.attr.heatmap`).

        Args:
            attributions: of :meth:`attribute`.
            inputs: the pair that they are of.

        Returns:
            Non-negative maps of the images and of the references, of the size of each, not normalised; those of an
            absolute method sum to what its attributions sum to, whatever the size.
        """
        first, second = (
            self._heatmap(attribution, (images.shape[2], images.shape[3]))
            for attribution, images in zip(attributions, inputs, strict=True)
        )
        return first, second

    def _heatmap(self, attribution: Tensor, size: tuple[int, int]) -> Tensor:
        maps = heatmap(attribution, size, kind=self.kind)
        if not self.absolute:
            return maps
        totals = maps.sum((1, 2), keepdim=True)
        return maps * (attribution.sum((1, 2, 3))[:, None, None] / torch.where(totals > 0, totals, 1))

    def _check(self, maps: Pair, inputs: Pair) -> None:
        """Refuse what is no attribution of the pair, or not of its kind."""
        shapes, n_pairs = [tuple(each.shape) for each in maps], len(inputs[0])
        if len(shapes) != 2 or any(len(shape) != 4 or shape[0] != n_pairs for shape in shapes):
            raise ValueError(
                f"Expected two attributions of shape ({n_pairs}, channel, height, width) from the method "
                f"{self.name!r}, but got {shapes}. Let it give one channel where it has none."
            )
        if self.kind != "layer" and shapes != [tuple(images.shape) for images in inputs]:
            raise ValueError(
                f"Expected attributions of the pixels and channels of the images from the method {self.name!r}, whose "
                f'kind is {self.kind!r}, but got {shapes}. Give it kind="layer" if they are of a layer, or one number '
                "a position."
            )
