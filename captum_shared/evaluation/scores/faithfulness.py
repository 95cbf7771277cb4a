"""Do the maps show what the similarity rests on? Deletion, insertion and infidelity for pairs of images."""

from typing import Final, final

import torch
from captum.metrics import infidelity, infidelity_perturb_func_decorator
from jaxtyping import Float
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from captum_shared.attr._captum import TargetType
from captum_shared.attr.pairs import Pair
from captum_shared.attr.projection import SharedProjection
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.twins import evaluation_mode

_BLUR: Final = 0.1
_NOISE: Final = 0.1
_PATCHES: Final = 7
_RANDOM_ORDERS: Final = 20
_ROUNDING: Final = 1e-6


@final
class PairFaithfulness:
    r"""Deletion and insertion for pairs: does the similarity hang on the pixels that the maps show?

    In either image the top share q of the pixels, in the order of its own map, is replaced by the blurred image
    (:func:`blurred`). Each changed image is compared with the other one as it was, and the two similarities averaged:

    .. math:: a = \int_0^1 \tfrac12 \bigl( s_k(x_q, r) + s_k(x, r_q) \bigr) \, dq

    **Choice**: comparing the two changed images with each other instead would reward wrong maps, since two blurred
    images are alike: with the embedded network s rises to 0.999 as more is deleted.

    Inserting pixels in one order is deleting them in the reverse order, so the areas of one set of 20 random orders
    normalise both scores: 0 is their mean, 1 the best of them.

    .. math::
        \mathrm{deletion} = \frac{\bar a - a(\mathrm{maps})}{\bar a - \min a} \qquad
        \mathrm{insertion} = \frac{a(-\mathrm{maps}) - \bar a}{\max a - \bar a}

    **Choice**: a random order is that of a smooth random map (7 x 7 numbers, interpolated), since pixels drawn one by
    one are scattered alike in all orders. Equal values in a map are ordered by one more random map, so a map that
    shows nothing gets what a random one does.

    Args:
        similarity: the twins and the neurons.
        inputs: the pairs (images, references). All are run in one batch: split long lists, which changes nothing, as
            the random orders are the same for all pairs.
        target: the neuron, as in Captum.
        steps: into how many equal parts the pixels are cut, at least 2.
        seed: of the random orders.

    Attributes:
        random_areas: the areas a of the random orders, (pair, order), between -1 and 1.

    Raises:
        ValueError: if there are fewer than 2 steps, or the pair is empty or of unequal lengths.

    Source:
        Petsiuk et al., RISE, BMVC 2018, for one image, not normalised.

    Example:
        >>> from captum_shared.neurons.readout import LinearReadout
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(75))
        >>> images = torch.zeros(1, 3, 5, 5)
        >>> images[..., 2, 2] = 1
        >>> faithfulness = PairFaithfulness(similarity, (images, images), steps=5)
        >>> faithfulness.deletion((images[:, 0], images[:, 0])) >= 1
        tensor([True])
    """

    def __init__(
        self, similarity: NeuronSimilarity, inputs: Pair, target: TargetType = None, *, steps: int = 10, seed: int = 0
    ) -> None:
        if steps < 2:
            raise ValueError(f"Expected at least 2 steps from the whole image to the blurred one, got {steps}.")
        self._similarity = similarity.with_readout(similarity.readout)  # of all features
        self._inputs, self._target, self._steps = inputs, target, steps
        with torch.no_grad(), evaluation_mode(similarity):
            self._intact = similarity.latent_features(*inputs)
        self._blurred = blurred(inputs[0]), blurred(inputs[1])
        generator = torch.Generator().manual_seed(seed)
        self._ties = _random_maps(inputs, generator)
        orders = [_random_maps(inputs, generator) for _ in range(_RANDOM_ORDERS)]
        self.random_areas: Float[Tensor, "pair order"] = torch.stack([self._area(maps) for maps in orders], 1)

    def deletion(self, maps: Pair) -> Float[Tensor, " pair"]:
        """Score how fast the similarity falls when the top pixels are deleted.

        Args:
            maps: maps of the images and of the references, each (pair, height, width) of its input.

        Returns:
            0 for the mean of random orders, 1 for the best of 20, more for a better one; NaN where the similarity
            does not tell random orders apart (to within 1e-6), whatever the maps.

        Raises:
            ValueError: if the maps are not finite or of another shape than the inputs.
        """
        mean = self.random_areas.mean(1)
        return _share(mean - self._area(self._checked(maps)), mean - self.random_areas.amin(1))

    def insertion(self, maps: Pair) -> Float[Tensor, " pair"]:
        """Score how fast the similarity rises when the top pixels are inserted into the blurred image.

        Args:
            maps: as in :meth:`deletion`.

        Returns:
            As of :meth:`deletion`.

        Raises:
            ValueError: as in :meth:`deletion`.
        """
        mean = self.random_areas.mean(1)
        first, second = self._checked(maps)
        return _share(self._area((-first, -second)) - mean, self.random_areas.amax(1) - mean)

    def _area(self, maps: Pair) -> Float[Tensor, " pair"]:
        """Area under the similarity while pixels are deleted from the top of the maps."""
        first, second = (_ranks(*ranked) for ranked in zip(maps, self._ties, strict=True))
        levels = torch.linspace(0, 1, self._steps + 1).tolist()
        curve = torch.stack([self._similarity_without((first < q, second < q)) for q in levels])
        return torch.trapezoid(curve, dx=1 / self._steps, dim=0)

    def _similarity_without(self, deleted: Pair) -> Float[Tensor, " pair"]:
        """Similarity of each image without some pixels with the other image as it was, averaged over the two."""
        first, second = (
            torch.where(mask[:, None], blank, whole)
            for mask, blank, whole in zip(deleted, self._blurred, self._inputs, strict=True)
        )
        weigh = self._similarity.weigh  # whose sum over features is the similarity
        with torch.no_grad(), evaluation_mode(self._similarity):
            image_features, reference_features = self._similarity.latent_features(first, second)
            of_images = weigh(image_features, self._intact[1], self._target).sum(1)
            of_references = weigh(self._intact[0], reference_features, self._target).sum(1)
        return (of_images + of_references) / 2

    def _checked(self, maps: Pair) -> Pair:
        for side, images in zip(maps, self._inputs, strict=True):
            expected = (len(images), *images.shape[-2:])
            if side.shape != expected:
                raise ValueError(
                    f"Expected maps of the inputs' shape {expected}, got {tuple(side.shape)}. Reduce attributions to "
                    "one number a pixel with heatmap."
                )
            if not bool(side.isfinite().all()):
                raise ValueError("Expected finite maps, got NaN or infinity: look for it in what the method computes.")
        return maps


def blurred(images: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image channel height width"]:
    """Blur images until no part can be told: what stands where pixels are deleted.

    Brightness and colour stay roughly as they are and no edge appears, unlike with grey or black (a choice).

    Args:
        images: network inputs, in any unit.

    Returns:
        The images under a Gaussian with a standard deviation of 0.1 of the longer side.

    Example:
        >>> image = torch.zeros(1, 1, 20, 20)
        >>> image[..., 10, 10] = 1.0
        >>> round(float(blurred(image).max()), 3)
        0.04
    """
    sigma = _BLUR * max(images.shape[-2:])
    reach_down, reach_right = (min(round(3 * sigma), side - 1) for side in images.shape[-2:])
    across = gaussian_blur(images, [2 * reach_right + 1, 1], [sigma, sigma])
    return torch.Tensor(gaussian_blur(across, [1, 2 * reach_down + 1], [sigma, sigma]))


def unexplained_share(
    similarity: NeuronSimilarity,
    inputs: Pair,
    *,
    attributions: Pair,
    target: TargetType = None,
    multiplies_by_inputs: bool = False,
    seed: int = 0,
) -> Float[Tensor, " pair"]:
    r"""Compute the infidelity of attributions to what they attribute, relative to that of no attribution at all.

    Captum's normalised ``infidelity`` of attributions φ to the function g(x, r) = h·f(x) + h·f(r) with constant h
    (:class:`~captum_shared.SharedProjection`; the similarity itself has another gradient), over random
    perturbations I of both images (Gaussian, 0.1 of the standard deviation of each image),

    .. math:: \frac{\min_\beta E[(\beta \, I \cdot \varphi - \Delta g)^2]}{E[\Delta g^2]}

    Args:
        similarity: the twins and the neurons.
        inputs: the pairs (images, references).
        attributions: signed attributions of the pixels, each of the shape of its input. Their scale has no effect.
        target: the neuron, as in Captum.
        multiplies_by_inputs: whether the attributions hold the inputs as a factor, as Integrated Gradients from a
            baseline of zero do.
        seed: of the perturbations, which are the same for all pairs but for their scale.

    Returns:
        Between 0 (the attributions account for all of the change) and 1 (for none of it, as those that are all
        zero); NaN where h is zero.

    Raises:
        AssertionError: as Captum does, if the shapes of inputs and attributions differ.

    Source:
        Yeh et al., On the (In)fidelity and Sensitivity of Explanations, NeurIPS 2019.

    Example:
        >>> from captum_shared.neurons.readout import LinearReadout
        >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(3))
        >>> inputs = torch.rand(1, 3, 1, 1), torch.rand(1, 3, 1, 1)
        >>> h = similarity.shared_weights(*inputs).reshape(1, 3, 1, 1)
        >>> bool(unexplained_share(similarity, inputs, attributions=(h, h)) < 1e-6)
        True
    """

    def measured(maps: Pair) -> Tensor:
        generator = torch.Generator().manual_seed(seed)

        def perturbed(whole: Pair) -> Pair:
            first, second = (images + _noise(images, generator) for images in whole)
            return first, second

        with evaluation_mode(similarity):
            values: Tensor = infidelity(
                SharedProjection(similarity),
                infidelity_perturb_func_decorator(multiplies_by_inputs)(perturbed),
                inputs,
                maps,
                additional_forward_args=similarity.shared_weights(*inputs, target),
                n_perturb_samples=50,
                max_examples_per_batch=len(inputs[0]),  # one perturbation at a time
                normalize=True,
            )
        return values

    nothing = torch.zeros_like(inputs[0]), torch.zeros_like(inputs[1])
    return (measured(attributions) / measured(nothing)).clamp(0, 1)


def _noise(images: Tensor, generator: torch.Generator) -> Tensor:
    deviation = images.std((1, 2, 3), keepdim=True)
    return _NOISE * deviation * torch.randn(images.shape[1:], generator=generator).to(images)


def _random_maps(inputs: Pair, generator: torch.Generator) -> Pair:
    """One smooth random map for all images and one for all references, (1, height, width)."""
    first, second = (
        nn.functional.interpolate(
            torch.rand(1, 1, _PATCHES, _PATCHES, generator=generator), images.shape[-2:], mode="bilinear"
        )[0].to(images)
        for images in inputs
    )
    return first, second


def _ranks(maps: Float[Tensor, "map height width"], ties: Float[Tensor, "1 height width"]) -> Tensor:
    """Share of the pixels above each pixel, from 0 to less than 1; equal pixels are ordered by ``ties``."""
    by_ties = ties.flatten().argsort(descending=True)
    order = by_ties[maps.flatten(1)[:, by_ties].argsort(dim=1, descending=True, stable=True)]
    return order.argsort(1).reshape(maps.shape) / by_ties.numel()


def _share(gain: Tensor, best: Tensor) -> Tensor:
    return torch.where(best > _ROUNDING, gain / best, torch.nan)
