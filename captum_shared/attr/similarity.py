"""Neuron-specific similarity of two images: the twins and their readout."""

import warnings
from typing import Any, TypeAlias, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_shared.attr._captum import TargetType, select_neurons
from captum_shared.attr.cosines import neuron_similarity, rescaled, shared_weights
from captum_shared.attr.pairs import check_lengths
from captum_shared.encoders.cutting import check_layer
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.origin import check_origin
from captum_shared.encoders.twins import tie_again, tied_copy
from captum_shared.neurons.readout import LinearReadout

LayerNames: TypeAlias = str | tuple[str | None, str | None] | None
"""A layer of both encoders, or of each; None for the cut."""


def warn_if_uncentered(readout: LinearReadout, method: str, *, stacklevel: int = 3) -> None:
    """Warn that a method needs features measured from their mean, where that of the readout is zero.

    Whether the features are without sign, as after a ReLU, or have a mean of zero by themselves, only images could
    tell; where they do, the warning can be filtered.

    Args:
        readout: the readout.
        method: what needs it, for the message.
        stacklevel: of the warning, as in ``warnings.warn``: by default the caller of the caller.

    Example:
        >>> warn_if_uncentered(LinearReadout([[1.0, 1.0]], feature_mean=[0.5, 0.0]), "excitatory=True")
    """
    if not bool(readout.feature_mean.any()):
        warnings.warn(
            f"{method} needs features measured from their mean, but the feature_mean of the readout is zero. After a "
            "ReLU no feature is negative, so that all that is bright counts as shared. Fit the readout with "
            "fit_readout(..., center=True).",
            UserWarning,
            stacklevel=stacklevel,
        )


@final
class NeuronSimilarity(nn.Module):
    """Two images in, their similarity for each neuron out.

    An ordinary module of two inputs, so every method of Captum works on it with Captum's own ``target``. The
    images and the references run through tied twins, two module trees over one set of weights: Captum's layer
    methods keep only the last call of a module and are silently wrong on an encoder that is called twice.
    References of another kind, such as sentences, have an encoder of their own, with features in the same space.

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
        weight = rescaled(self.readout.weight).to(image_features)
        return neuron_similarity(self.centered(image_features), self.centered(reference_features), weight)

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
        if self._tied:
            tie_again(self.image_features, self.reference_features)
        return self.checked(self.image_features(images)), self.checked(self.reference_features(references))

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
        return NeuronSimilarity(
            self.image_features,
            readout,
            excitatory=excitatory,
            reference_features=second,
            any_encoder=self._any_encoder,
        )

    def centered(self, features: Float[Tensor, "image feature"]) -> Float[Tensor, "image feature"]:
        """Return v = f - m, with m the readout's ``feature_mean``.

        Args:
            features: latent features f.

        Returns:
            Centred features of the same shape.
        """
        return features - self.readout.feature_mean.to(features)

    def shared_weights(
        self, images: Tensor, references: Tensor, target: TargetType = None
    ) -> Float[Tensor, "image feature"]:
        """Compute the shared weights h of each pair for the neuron that ``target`` selects.

        Args:
            images: inputs x of the encoder, image first.
            references: as many inputs r.
            target: the neuron, as in Captum: one for all pairs or one a pair; None if there is only one neuron.

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
        neurons = select_neurons(len(image_features), self.readout.n_neurons, target)
        weight = rescaled(self.readout.weight[neurons.to(self.readout.weight.device)]).to(image_features)
        image_features, reference_features = self.centered(image_features), self.centered(reference_features)
        return shared_weights(image_features, reference_features, weight, excitatory=self.excitatory)

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
        return _layer_module(self.image_features, first), _layer_module(self.reference_features, second)

    def checked(self, features: Any) -> Float[Tensor, "image feature"]:
        """Return what an encoder gave, if it can be read out.

        Args:
            features: output of the encoder.

        Returns:
            The same features.

        Raises:
            TypeError: if they are not a tensor.
            ValueError: if they do not fit the readout or are not finite.
        """
        if not isinstance(features, Tensor):
            raise TypeError(
                f"The encoder must give a tensor (image, feature), but gave a {type(features).__name__}. Wrap it in a "
                "module that picks the features out."
            )
        if features.ndim != 2 or features.shape[1] != self.readout.n_features:
            raise ValueError(
                f"The readout expects (image, feature) with {self.readout.n_features} features, but the encoder gives "
                f"shape {tuple(features.shape)}. Use the layer and the pooling with which the readout was fitted."
            )
        if not bool(torch.isfinite(features).all()):
            raise ValueError(
                "The encoder's features are not finite (NaN or infinite). Expected finite numbers: look for NaN in the "
                "images and in the network's weights."
            )
        return features


def _layer_module(encoder: nn.Module, layer: str | None) -> nn.Module:
    if isinstance(encoder, LatentFeatures):
        return encoder.cut if layer is None else encoder.layer_module(layer)
    if layer is None:
        raise ValueError(f"Name a layer: {type(encoder).__name__} has no cut. Only LatentFeatures has one.")
    check_layer(layer, [name for name, _ in encoder.named_modules() if name], type(encoder).__name__)
    return encoder.get_submodule(layer)
