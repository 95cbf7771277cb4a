"""Neuron-specific similarity of two images: the twins and their readout."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias, final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from captum_shared.attr._captum import TargetType, named_target, select_neurons
from captum_shared.attr.cosines import neuron_similarity, shared_weights, wide
from captum_shared.attr.pairs import check_lengths
from captum_shared.attr.preconditions import checked_features, warn_if_uncentered
from captum_shared.encoders.features import LatentFeatures, layer_module
from captum_shared.encoders.inputs import inputs_told
from captum_shared.encoders.origin import check_origin
from captum_shared.encoders.twins import Spares, tie_again, tied_copy
from captum_shared.neurons.readout import LinearReadout

LayerNames: TypeAlias = str | tuple[str | None, str | None] | None
"""A layer of both encoders, or of each; None for the cut."""


@final
class NeuronSimilarity(nn.Module):
    """Two images in, their similarity for each neuron out.

    An ordinary module of two inputs, so every method of Captum works on it with Captum's own ``target``. The
    images and the references run through tied twins, two module trees over one set of weights: Captum's layer
    methods keep only the last call of a module and are silently wrong on an encoder that is called twice.
    References of another kind, such as sentences, have an encoder of their own, with features in the same space.

    The encoders always run in evaluation mode, whatever mode they are in, which they keep. The similarity and all
    attributions of this package may be called from several threads at once: what needs hooks or another mode runs on a
    tied copy of the modules that belongs to the call (:meth:`own`). Captum's own classes set hooks on the modules that
    they are given: in several threads, give each a copy of its own.

    Args:
        features: network from images to (image, feature): :class:`~captum_shared.LatentFeatures`, or any
            encoder with one row of features an input (a sentence or audio network).
        readout: the neurons.
        excitatory: whether shared weights keep only features that drive the neuron in both images
            (:func:`shared_weights`); the similarity itself stays as it is. The features should be centred
            (:func:`warn_if_uncentered`).
        reference_features: the encoder of the references, from any input to as many features; None for ``features``
            itself. Readout and mean are the same for both.
        any_encoder: whether a readout is taken that was fitted to features of another encoder
            (:meth:`~captum_shared.LinearReadout.with_origin`), as tests with random weights need.

    Attributes:
        image_features: the encoder that sees the images: ``features`` itself.
        reference_features: the one that sees the references: the tied twin, or the encoder that was given (a tied copy
            of it, if it shares modules with ``features``, as two methods of one CLIP do).
        readout: the neurons.
        excitatory: whether shared weights keep only such features.

    Example:
        >>> encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
        >>> similarity = NeuronSimilarity(encoder, LinearReadout.uniform(4))
        >>> images = torch.rand(2, 3, 2, 2)
        >>> similarity(images, images).detach().round(decimals=3)
        tensor([[1.],
                [1.]])
    """

    def __init__(
        self,
        features: nn.Module,
        readout: LinearReadout,
        *,
        excitatory: bool = False,
        reference_features: nn.Module | None = None,
        any_encoder: bool = False,
    ) -> None:
        super().__init__()
        second = features if reference_features is None else reference_features
        for name, encoder in {"features": features, "reference_features": second}.items():
            if not isinstance(encoder, nn.Module):
                raise TypeError(f"{name} must be a torch.nn.Module to (image, feature), not {type(encoder).__name__}.")
            if any(hasattr(part, "_orig_mod") for part in encoder.modules()):
                raise ValueError(
                    f"{name} went through torch.compile, after which it has no tied copy, and calls no hooks. Give the "
                    "module that was compiled."
                )
        if not isinstance(readout, LinearReadout):
            raise TypeError(
                f"readout must be a LinearReadout, but got {type(readout).__name__}. Fit one with fit_readout, or turn "
                "an estimator into one with LinearReadout.from_estimator."
            )
        shared = not set(features.modules()).isdisjoint(second.modules())
        if not any_encoder:
            check_origin(readout.origin, [features, *([] if second is features else [second])])
        self._any_encoder, self._tied = any_encoder, reference_features is None
        self.image_features = features
        self.reference_features = tied_copy(second) if shared else second
        self.readout = readout
        self.excitatory = excitatory
        self._spares, self._is_own = Spares(), False
        if excitatory:
            warn_if_uncentered(readout, "excitatory=True")

    def forward(self, images: Tensor, references: Tensor) -> Float[Tensor, "image neuron"]:
        """Compute the neuron-specific similarity s of each image with its reference.

        Args:
            images: inputs x of the encoder, image first.
            references: as many inputs r.

        Returns:
            Cosines, see :func:`neuron_similarity`.

        Raises:
            ValueError: if the numbers of images differ, or the features do not fit the readout.
        """
        return self.of_features(*self.latent_features(images, references))

    def of_features(
        self, image_features: Float[Tensor, "image feature"], reference_features: Float[Tensor, "image feature"]
    ) -> Float[Tensor, "image neuron"]:
        """Compute the similarity from latent features that are already known.

        Args:
            image_features: f(x).
            reference_features: f(r).

        Returns:
            Cosines, see :func:`neuron_similarity`.
        """
        weight = self.readout.weight.to(image_features.device)
        first, second = self._exactly_centered(image_features), self._exactly_centered(reference_features)
        return neuron_similarity(first, second, weight).to(image_features.dtype)

    def latent_features(
        self, images: Tensor, references: Tensor
    ) -> tuple[Float[Tensor, "image feature"], Float[Tensor, "image feature"]]:
        """Compute f(x) and f(r), each in its own twin.

        Args:
            images: inputs x of the encoder, image first.
            references: as many inputs r.

        Returns:
            The features of the images and of the references, not centred.

        Raises:
            ValueError: if the numbers of images differ, or the features do not fit the readout or are not finite.
        """
        check_lengths(images, references)
        twins = self.image_features, self.reference_features
        if not self._is_own and any(part.training for twin in twins for part in twin.modules()):
            with self.own() as own:
                return own.latent_features(images, references)
        if self._tied and not self._is_own:
            tie_again(self.image_features, self.reference_features)
        return self.encoded(self.image_features, images), self.encoded(self.reference_features, references)

    @contextmanager
    def own(self) -> Iterator["NeuronSimilarity"]:
        """Lend a tied copy that no other call sees, in evaluation mode: to set hooks on, also in several threads.

        It has the weights and the hooks that the modules have when it is lent.

        Yields:
            The copy; of such a copy, itself.

        Example:
            >>> from captum.attr import Saliency
            >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(3))
            >>> pair = torch.rand(1, 3, requires_grad=True), torch.rand(1, 3, requires_grad=True)
            >>> with similarity.own() as own:
            ...     maps = Saliency(own).attribute(pair)
        """
        if self._is_own:
            yield self
            return
        if self._tied:
            tie_again(self.image_features, self.reference_features)
        with self._spares.lent(self) as own:
            own._is_own = True
            for encoder, twin in zip(self.encoders, (own.image_features, own.reference_features), strict=True):
                preprocess = getattr(encoder, "preprocess", None)
                if isinstance(twin, LatentFeatures) and not isinstance(preprocess, nn.Module):  # modules are tied
                    twin.preprocess = preprocess
            yield own

    @property
    def encoders(self) -> tuple[nn.Module, nn.Module]:
        """The encoder of the images and that of the references, the same one where there is but one."""
        return self.image_features, self.image_features if self._tied else self.reference_features

    def with_readout(self, readout: LinearReadout, *, excitatory: bool = False) -> "NeuronSimilarity":
        """Return the similarity of other neurons, by the same encoders.

        Args:
            readout: the neurons.
            excitatory: as in the constructor.

        Returns:
            Twins of their own.

        Example:
            >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(3))
            >>> similarity.with_readout(LinearReadout([[1.0, 2.0, 3.0]])).readout.weight
            tensor([[1., 2., 3.]])
        """
        second = None if self._tied else self.reference_features
        other = NeuronSimilarity(
            self.image_features,
            readout,
            excitatory=excitatory,
            reference_features=second,
            any_encoder=self._any_encoder or self._is_own,
        )
        other._is_own = self._is_own
        return other

    def centered(self, features: Float[Tensor, "image feature"]) -> Float[Tensor, "image feature"]:
        """Return v = f - m, with m the readout's ``feature_mean``.

        Args:
            features: latent features f.

        Returns:
            Centred features of the same shape.
        """
        return self._exactly_centered(features).to(features.dtype)

    def neurons(self, n_images: int, target: TargetType = None) -> Int[Tensor, " image"]:
        """Return the index of the neuron that ``target`` selects for each image.

        Args:
            n_images: number of images.
            target: the neuron, as in Captum, or its name: one for all pairs or one a pair; None if there is only one.

        Raises:
            ValueError: if no neuron has the name (close ones are listed); what Captum raises, if it is wrong otherwise.

        Example:
            >>> readout = LinearReadout([[1.0], [2.0], [3.0]], neuron_names=["A", "B", "C"])
            >>> NeuronSimilarity(nn.Flatten(), readout).neurons(2, ["C", "A"])
            tensor([2, 0])
        """
        return select_neurons(n_images, self.readout.n_neurons, named_target(self.readout, target))

    def shared_weights(
        self, images: Tensor, references: Tensor, target: TargetType = None
    ) -> Float[Tensor, "image feature"]:
        """Compute the shared weights h of each pair for the neuron that ``target`` selects.

        Args:
            images: inputs x of the encoder, image first.
            references: as many inputs r.
            target: the neuron, as in Captum, or its name: one for all pairs or one a pair; None if there is only one.

        Returns:
            h, detached; see :func:`shared_weights`.

        Raises:
            ValueError: as :meth:`latent_features`.
        """
        with torch.no_grad():
            return self.weigh(*self.latent_features(images, references), target)

    def weigh(
        self,
        image_features: Float[Tensor, "image feature"],
        reference_features: Float[Tensor, "image feature"],
        target: TargetType = None,
    ) -> Float[Tensor, "image feature"]:
        """Compute the shared weights h from latent features that are already known.

        Args:
            image_features: f(x).
            reference_features: f(r).
            target: the neuron, as in Captum.

        Returns:
            h, see :func:`shared_weights`.
        """
        neurons = self.neurons(len(image_features), target)
        weight = self.readout.weight[neurons.to(self.readout.weight.device)].to(image_features.device)
        first, second = self._exactly_centered(image_features), self._exactly_centered(reference_features)
        return shared_weights(first, second, weight, excitatory=self.excitatory).to(image_features.dtype)

    def layer_modules(self, layer: LayerNames = None) -> tuple[nn.Module, nn.Module]:
        """Return a layer's module in each twin, to hand to Captum's layer methods.

        Args:
            layer: name of a layer up to the cut (as in the original model, for
                :class:`~captum_shared.LatentFeatures`; within the encoder, for any other), or None for the
                cut; or a pair of these, one of each encoder.

        Returns:
            The module that sees the images and the one that sees the references.

        Raises:
            ValueError: if there is no such layer.
        """
        first, second = layer if isinstance(layer, tuple) else (layer, layer)
        return layer_module(self.image_features, first), layer_module(self.reference_features, second)

    def checked(self, features: Any) -> Float[Tensor, "image feature"]:
        """Return what an encoder gave, if it can be read out (:func:`checked_features`)."""
        return checked_features(features, self.readout)

    def encoded(self, encoder: nn.Module, inputs: Tensor) -> Float[Tensor, "image feature"]:
        """Return the features that one of the twins gives, if they can be read out."""
        with inputs_told(encoder, inputs):
            return self.checked(encoder(inputs))

    def _exactly_centered(self, features: Tensor) -> Tensor:
        """Features v in a precision in which small differences and large numbers survive."""
        exact = wide(features)
        return exact - self.readout.feature_mean.to(exact)
