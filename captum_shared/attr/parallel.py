"""Parallel backpropagation: two images in, two maps of what they share out."""

from collections.abc import Mapping
from typing import Any, Literal, final, overload

from captum.attr import GradientAttribution, IntegratedGradients
from jaxtyping import Float
from torch import Tensor

from captum_shared.attr._captum import TargetType, log_usage
from captum_shared.attr.arguments import Baselines, merged, pair_of, refuse
from captum_shared.attr.backpropagation import PairPass
from captum_shared.attr.integration import AutoSteps, automatic_steps, integrate
from captum_shared.attr.jacobian import Jacobian, builder_of, check_arguments, checked_maps
from captum_shared.attr.neuron_maps import NeuronMaps, Neurons, Reduce, Strategy, gradient_maps, listed_neurons
from captum_shared.attr.neuron_paths import integrated_neurons
from captum_shared.attr.pairs import Pair, checked_pair
from captum_shared.attr.projection import SharedProjection
from captum_shared.attr.similarity import NeuronSimilarity


@final
class ParallelSharedAttribution(GradientAttribution):
    r"""Parallel backpropagation of the features that two images share, for one neuron.

    .. math:: \mathrm{map}(x) = J_f(x)^\top h, \qquad \mathrm{map}(r) = J_f(r)^\top h

    with h the shared weights of the pair (:func:`~captum_shared.shared_weights`), held constant. The maps
    are not the gradient of the similarity: differentiating the cosine gives others.

    Args:
        similarity: encoder and readout.
        jacobian: ``"gradient"`` (one forward and one backward pass of both images), ``"integrated_gradients"``
            (Captum's, of the function x ↦ h·f(x), and one more forward pass for h), or any other attribution class of
            Captum that needs nothing but a module, such as ``GuidedBackprop``, ``DeepLift``, ``GradientShap`` or
            ``Occlusion``, run on the same function; or a function that builds one, such as
            ``functools.partial(DeepLift, eps=1e-6)``. It is tried on two inputs of two pixels, and builds a new one for
            each call, which sets its hooks on a copy of the twins that is its own, so that several threads may call.
        multiply_by_inputs: whether maps hold the inputs as a factor. By default not for gradients, and what the
            class does by itself for the others.

    Attributes:
        forward_func: the similarity.
        projection: the function x, r ↦ h·f(x) + h·f(r) that the maps attribute.

    Raises:
        TypeError: if ``similarity`` is not a :class:`NeuronSimilarity`.
        ValueError: if ``jacobian`` is unknown or fails the trial, as a class does that needs a layer, or one with no
            choice of ``multiply_by_inputs`` where it is given.

    Source:
        Lappe et al., Parallel Backpropagation for Shared-Feature Visualization, NeurIPS 2024. The paper does not
        centre the features; here that is a property of the readout (``feature_mean``, zero by default).

    Example:
        >>> import torch
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
        jacobian: Jacobian = "gradient",
        *,
        multiply_by_inputs: bool | None = None,
    ) -> None:
        if not isinstance(similarity, NeuronSimilarity):
            raise TypeError(f"similarity must be a NeuronSimilarity, but got {type(similarity).__name__}.")
        super().__init__(similarity)
        self.projection = SharedProjection(similarity)
        self._build = builder_of(jacobian, multiply_by_inputs)
        self._integrates = jacobian in ("integrated_gradients", IntegratedGradients)
        self._attribution: Any = None if self._build is None else self._build(self.projection)
        self._multiplies_by_inputs = bool(
            multiply_by_inputs if self._attribution is None else self._attribution.multiplies_by_inputs
        )

    @property
    def multiplies_by_inputs(self) -> bool:
        """Whether the maps hold the inputs as a factor."""
        return self._multiplies_by_inputs

    def has_convergence_delta(self) -> bool:
        """Tell whether ``return_convergence_delta`` is available: with the methods that have one."""
        return self._attribution is not None and bool(self._attribution.has_convergence_delta())

    @overload
    def attribute(
        self,
        inputs: Pair,
        target: TargetType = None,
        *,
        baselines: Baselines = None,
        n_steps: int | Literal["auto"] | AutoSteps = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: Literal[True],
        jacobian_arguments: Mapping[str, Any] | None = None,
        return_n_steps: Literal[False] = False,
    ) -> tuple[Pair, Tensor]: ...

    @overload
    def attribute(
        self,
        inputs: Pair,
        target: TargetType = None,
        *,
        baselines: Baselines = None,
        n_steps: int | Literal["auto"] | AutoSteps = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: Literal[False] = False,
        jacobian_arguments: Mapping[str, Any] | None = None,
        return_n_steps: Literal[False] = False,
    ) -> Pair: ...

    @overload
    def attribute(
        self,
        inputs: Pair,
        target: TargetType = None,
        *,
        baselines: Baselines = None,
        n_steps: Literal["auto"] | AutoSteps,
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        return_n_steps: Literal[True],
    ) -> tuple[Any, ...]: ...

    @log_usage()
    def attribute(
        self,
        inputs: Pair,
        target: TargetType = None,
        *,
        baselines: Baselines = None,
        n_steps: int | Literal["auto"] | AutoSteps = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        jacobian_arguments: Mapping[str, Any] | None = None,
        return_n_steps: bool = False,
    ) -> Any:
        """Compute the two maps.

        From ``baselines`` to ``return_convergence_delta`` arguments are those of ``captum.attr.IntegratedGradients``.
        Other classes are handed those that differ from their defaults here, and refuse what they do not take; plain
        gradients take none.

        Args:
            inputs: the pair (images, references), each (image, channel, height, width), as many of one as of the
                other; their heights and widths may differ.
            target: the neuron, as anywhere in Captum: an int or one-element tuple for all pairs, a list, tensor or
                list of one-element tuples with one entry a pair; or the name of the neuron, or a list of names; None if
                there is only one neuron.
            baselines: where paths start, one for both images or a pair (under NoiseTunnel a pair); None for zeros.
            n_steps: number of steps along each path; with Integrated Gradients also ``"auto"``, which takes as many
                for each pair as it needs (:class:`~captum_shared.attr.AutoSteps`, also with another tolerance).
            method: quadrature rule; of ``"auto"`` the trapezoidal one.
            internal_batch_size: how many steps of all pairs run at once; None for all.
            return_convergence_delta: whether to return also by how much the maps miss their goal
                (:meth:`compute_convergence_delta`).
            jacobian_arguments: what the class behind ``jacobian`` takes besides, by name, such as
                ``{"sliding_window_shapes": ((3, 8, 8), (3, 8, 8))}`` of ``Occlusion``.
            return_n_steps: whether to return also how many steps each pair took, with ``n_steps="auto"``.

        Returns:
            The maps of the images and of the references, each with the shape, dtype and device of its input, signed
            and not normalised, so that pairs that share little get faint maps. With ``return_convergence_delta`` also
            the delta of each pair, measured against h·f, and with ``return_n_steps`` last the number of its steps.

        Raises:
            TypeError: if ``inputs`` is not a pair of floating-point tensors, or the method behind ``jacobian`` does not
                take an argument or needs another.
            ValueError: if the pair is empty, of unequal lengths or not finite, or does not fit the readout.
            RuntimeError: in inference mode.

        Warns:
            UserWarning: if a pair misses the tolerance of ``n_steps="auto"``.
        """
        chosen = {
            "baselines": baselines,
            "n_steps": n_steps,
            "method": method,
            "internal_batch_size": internal_batch_size,
            "return_convergence_delta": return_convergence_delta,
        }
        arguments = merged(chosen, jacobian_arguments or {})
        images, references = checked_pair(inputs)
        steps = automatic_steps(n_steps, return_n_steps, integrates=self._integrates)
        if steps is not None:
            multiplies = self.multiplies_by_inputs
            result = integrate(self.forward_func, (images, references), target, steps, arguments, multiplies=multiplies)
            return result.told(delta=return_convergence_delta, n_steps=return_n_steps)
        if self._build is None:
            return self._gradients((images, references), target, arguments)
        check_arguments(self._attribution, arguments)
        with self.forward_func.own() as own:  # whose modules Captum can set its hooks on
            weights = own.shared_weights(images, references, target)
            attribution: Any = self._build(SharedProjection(own))
            told = attribution.attribute((images, references), additional_forward_args=(weights,), **arguments)
        maps, delta = told if arguments.get("return_convergence_delta") else (told, None)
        first, second = checked_maps(maps, (images, references))
        finished = _finished(first, images), _finished(second, references)
        return finished if delta is None else (finished, delta)

    @log_usage()
    def attribute_neurons(
        self,
        inputs: Pair,
        neurons: Neurons = None,
        *,
        reduce: Reduce | None = None,
        strategy: Strategy = "auto",
        arguments: Mapping[str, Any] | None = None,
    ) -> NeuronMaps:
        """Compute the maps of many neurons, one after the other: those of :meth:`attribute`, for less.

        Plain gradients take one forward pass of the pairs for all neurons, and one backward pass each; or, where the
        neurons outnumber the features, one backward pass a feature and products with the Jacobian. It takes the memory
        of the pair times the features (float32, two images of 224 pixels, 512 features: 0.6 GB a pair), and is not
        made by itself if that is above 4 GiB. Integrated Gradients take as much for each step, without Captum's class,
        but of ``"auto"``; that and other classes are called for each neuron.

        Args:
            inputs: the pair, as for :meth:`attribute`: the same for all neurons.
            neurons: indices or names; None for all.
            reduce: what is made of the maps (images, references) of each neuron, such as
                ``lambda maps: maps[0].abs().sum(1)``, so that only that is kept; None for the maps.
            strategy: ``"backward"``, ``"jacobian"``, or ``"auto"`` for the one with fewer backward passes.
            arguments: what :meth:`attribute` takes besides, by name, such as ``{"n_steps": 20}``.

        Returns:
            An iterator of (neuron, maps), whose ``strategy`` says how they are made. It can be left at any time.

        Raises:
            TypeError: as :meth:`attribute`, or if ``neurons`` is no list.
            ValueError: as :meth:`attribute`, or if there are no neurons, or none has a name.
            IndexError: if an index is out of range.
            RuntimeError: in inference mode.

        Example:
            >>> import torch
            >>> from captum_shared.neurons.readout import LinearReadout
            >>> similarity = NeuronSimilarity(torch.nn.Flatten(), LinearReadout([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]))
            >>> pair = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]])
            >>> maps = ParallelSharedAttribution(similarity).attribute_neurons(pair, reduce=lambda maps: maps[0])
            >>> maps.strategy, next(maps)
            ('jacobian', (0, tensor([[1., 0.]])))
        """
        pair, listed, arguments = checked_pair(inputs), listed_neurons(self.forward_func, neurons), arguments or {}
        if self._build is None:
            refuse(arguments)
            passed = PairPass.of(self.forward_func, pair)
            made, gradients = gradient_maps(passed, self.forward_func, listed, strategy=strategy)
            return NeuronMaps(listed, (self._finished(each, pair) for each in gradients), made, reduce)
        if self._integrates and isinstance(arguments.get("n_steps", 50), int):
            made, maps = integrated_neurons(
                self.forward_func, pair, listed, arguments, strategy=strategy, multiplies=self.multiplies_by_inputs
            )
            finished = ((_finished(first, pair[0]), _finished(second, pair[1])) for first, second in maps)
            return NeuronMaps(listed, finished, made, reduce)
        calls = (self.attribute(inputs, neuron, **arguments) for neuron in listed)
        return NeuronMaps(listed, calls, "calls", reduce)

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
        with self.forward_func.own() as own:
            weights = own.shared_weights(images, references, target)
            delta: Tensor = GradientAttribution(SharedProjection(own)).compute_convergence_delta(
                attributions, pair_of(start_point), (images, references), additional_forward_args=(weights,)
            )
        return delta

    def _gradients(self, pair: Pair, target: TargetType, arguments: Mapping[str, Any]) -> Pair:
        refuse(arguments)
        maps = PairPass.of(self.forward_func, pair).gradients(self.forward_func, target)
        return self._finished(maps, pair)

    def _finished(self, gradients: Pair, pair: Pair) -> Pair:
        if self.multiplies_by_inputs:
            gradients = gradients[0] * pair[0].detach(), gradients[1] * pair[1].detach()
        return _finished(gradients[0], pair[0]), _finished(gradients[1], pair[1])


def _finished(attribution: Tensor, like: Tensor) -> Tensor:
    return attribution.detach().to(like.dtype).contiguous()
