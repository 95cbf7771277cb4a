"""Parallel backpropagation: two images in, two maps of what they share out."""

import inspect
from typing import Any, final

import torch
from captum.attr import Attribution, GradientAttribution, IntegratedGradients
from captum.log import log_usage
from jaxtyping import Float
from torch import Tensor

from captum_shared.attr._captum import TargetType
from captum_shared.attr.pairs import Pair, checked_pair
from captum_shared.attr.projection import SharedProjection
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.twins import evaluation_mode


@final
class ParallelSharedAttribution(GradientAttribution):
    r"""Parallel backpropagation of the features that two images share, for one neuron.

    .. math:: \mathrm{map}(x) = J_f(x)^\top h, \qquad \mathrm{map}(r) = J_f(r)^\top h

    with h the shared weights of the pair (:func:`~captum_shared.shared_weights`), held constant. The maps
    are not the gradient of the similarity: differentiating the cosine gives others.

    Args:
        similarity: encoder and readout.
        jacobian: ``"gradient"`` (one forward and one backward pass of both images), ``"integrated_gradients"``
            (Captum's, of the function x ↦ h·f(x)), or any other attribution class of Captum that takes a module, such
            as ``GuidedBackprop``, ``DeepLift``, ``GradientShap`` or ``Occlusion``, run on the same function.
        multiply_by_inputs: whether maps hold the inputs as a factor. By default not for gradients, and what the
            class does by itself for the others.

    Attributes:
        forward_func: the similarity.
        projection: the function x, r ↦ h·f(x) + h·f(r) that the maps attribute.

    Raises:
        TypeError: if ``similarity`` is not a :class:`NeuronSimilarity`.
        ValueError: if ``jacobian`` is unknown, or ``multiply_by_inputs`` is given to a class that has no such choice.

    Source:
        Lappe et al., Parallel Backpropagation for Shared-Feature Visualization, NeurIPS 2024. The paper does not
        centre the features; here that is a property of the readout (``feature_mean``, zero by default).

    Example:
        >>> from torch import nn
        >>> from captum_shared import LatentFeatures, LinearReadout
        >>> network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        >>> similarity = NeuronSimilarity(LatentFeatures(network, "1"), LinearReadout(torch.randn(5, 4)))
        >>> method = ParallelSharedAttribution(similarity)
        >>> images, references = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
        >>> image_maps, reference_maps = method.attribute((images, references), target=3)
        >>> image_maps.shape
        torch.Size([2, 3, 8, 8])
    """

    def __init__(
        self,
        similarity: NeuronSimilarity,
        jacobian: str | type[Attribution] = "gradient",
        *,
        multiply_by_inputs: bool | None = None,
    ) -> None:
        if not isinstance(similarity, NeuronSimilarity):
            raise TypeError(f"similarity must be a NeuronSimilarity, but got {type(similarity).__name__}.")
        super().__init__(similarity)
        self.projection = SharedProjection(similarity)
        self._method: Any = _captum_method(self.projection, jacobian, multiply_by_inputs)
        self._multiplies_by_inputs = bool(
            multiply_by_inputs if self._method is None else self._method.multiplies_by_inputs
        )

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether the maps hold the inputs as a factor."""
        return self._multiplies_by_inputs

    def has_convergence_delta(self) -> bool:
        """Tell whether ``return_convergence_delta`` is available: with the methods that have one."""
        return self._method is not None and bool(self._method.has_convergence_delta())

    @log_usage()
    def attribute(self, inputs: Pair, target: TargetType = None, **kwargs: Any) -> Pair | tuple[Pair, Tensor]:
        """Compute the two maps.

        Args:
            inputs: the pair (images, references), each (image, channel, height, width), as many of one as of the
                other; their heights and widths may differ.
            target: the neuron, as anywhere in Captum: an int or one-element tuple for all pairs, a list, tensor or
                list of one-element tuples with one entry a pair; None if there is only one neuron.
            **kwargs: what the method behind ``jacobian`` takes; for Integrated Gradients ``baselines`` (one for both,
                or a pair; under NoiseTunnel a pair), ``n_steps``, ``method``, ``internal_batch_size`` and
                ``return_convergence_delta``. Plain gradients take none.

        Returns:
            The maps of the images and of the references, each with the shape, dtype and device of its input, signed
            and not normalised, so that pairs that share little get faint maps. With ``return_convergence_delta`` also
            the delta of each pair, measured against h·f.

        Raises:
            TypeError: if ``inputs`` is not a pair of floating-point tensors, or an argument is not known.
            ValueError: if the pair is empty, of unequal lengths or not finite, or does not fit the readout.
            RuntimeError: in inference mode.
        """
        images, references = checked_pair(inputs)
        with evaluation_mode(self.forward_func):
            if self._method is None:
                maps, delta = self._backpropagate(images, references, target, **kwargs), None
            else:
                result = self._run(images, references, target, **kwargs)
                maps, delta = result if kwargs.get("return_convergence_delta") else (result, None)
        finished = (_finished(maps[0], images), _finished(maps[1], references))
        return finished if delta is None else (finished, delta)

    @log_usage()
    def compute_convergence_delta(
        self,
        attributions: Pair,
        start_point: Any,
        end_point: Pair,
        target: TargetType = None,
        additional_forward_args: None = None,
    ) -> Float[Tensor, " image"]:
        """Compute by how much the maps of each pair miss h·(f(x) − f(x₀)) + h·(f(r) − f(r₀)), which is their goal.

        It is not the similarity that they sum to, so Captum's own definition would not do here.

        Args:
            attributions: the maps of the pair.
            start_point: the baselines (x₀, r₀), or one for both; None for zeros.
            end_point: the pair (images, references).
            target: the neuron, as in :meth:`attribute`.
            additional_forward_args: there are none.

        Returns:
            One number a pair: sum of the maps minus what they should sum to.
        """
        if additional_forward_args is not None:
            raise TypeError("The similarity of a pair takes no additional_forward_args. Leave them out.")
        images, references = checked_pair(end_point)
        with evaluation_mode(self.forward_func):
            weights = self.forward_func.shared_weights(images, references, target)
            delta: Tensor = GradientAttribution(self.projection).compute_convergence_delta(
                attributions, _pair_of(start_point), (images, references), additional_forward_args=(weights,)
            )
        return delta

    def _run(self, images: Tensor, references: Tensor, target: TargetType, **kwargs: Any) -> Any:
        """Let Captum's method attribute x ↦ h·f(x)."""
        weights = self.forward_func.shared_weights(images, references, target)
        if "baselines" in kwargs:
            kwargs["baselines"] = _pair_of(kwargs["baselines"])
        return self._method.attribute((images, references), additional_forward_args=(weights,), **kwargs)

    def _backpropagate(self, images: Tensor, references: Tensor, target: TargetType, **kwargs: Any) -> Pair:
        if kwargs:
            raise TypeError(f"Plain gradients take no {', '.join(kwargs)}. Choose another jacobian, or leave it out.")
        similarity: NeuronSimilarity = self.forward_func
        with torch.enable_grad():
            features = similarity.latent_features(images, references)
        weights = similarity.weigh(features[0].detach(), features[1].detach(), target)
        maps = torch.autograd.grad(features, (images, references), (weights, weights))
        if self.multiplies_by_inputs:
            return maps[0] * images, maps[1] * references
        return maps[0], maps[1]


def _captum_method(
    projection: SharedProjection, jacobian: str | type[Attribution], multiply_by_inputs: bool | None
) -> Attribution | None:
    """Build the method that stands in for plain gradients; None for these."""
    if jacobian == "gradient":
        return None
    method: Any = IntegratedGradients if jacobian == "integrated_gradients" else jacobian
    if not (isinstance(method, type) and issubclass(method, Attribution) and hasattr(method, "attribute")):
        raise ValueError(
            "jacobian must be 'gradient', 'integrated_gradients' or an attribution class of Captum, "
            f"but got {jacobian!r}."
        )
    first, *others = inspect.signature(method).parameters.values()
    if first.name not in ("forward_func", "model") or any(other.default is other.empty for other in others):
        raise ValueError(f"jacobian must be a class of Captum that takes a module alone, but got {method.__name__}.")
    if multiply_by_inputs is None:
        return method(projection)
    if "multiply_by_inputs" not in inspect.signature(method).parameters:
        raise ValueError(f"{method.__name__} has no choice of multiply_by_inputs. Leave it out.")
    return method(projection, multiply_by_inputs=multiply_by_inputs)


def _pair_of(baselines: Any) -> Any:
    """Use one baseline for both images; leave pairs, functions and None to Captum."""
    return (baselines, baselines) if isinstance(baselines, (Tensor, int, float)) else baselines


def _finished(attribution: Tensor, like: Tensor) -> Tensor:
    return attribution.detach().to(like.dtype).contiguous()
