"""What a similarity asks of its readout and of what its encoders give."""

import warnings
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from captum_shared.neurons.readout import LinearReadout


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


def checked_features(features: Any, readout: LinearReadout) -> Float[Tensor, "image feature"]:
    """Return what an encoder gave, if a readout can read it.

    Args:
        features: output of the encoder.
        readout: the readout.

    Returns:
        The same features.

    Raises:
        TypeError: if they are not a tensor.
        ValueError: if they do not fit the readout or are not finite.

    Example:
        >>> checked_features(torch.ones(1, 2), LinearReadout.uniform(2))
        tensor([[1., 1.]])
    """
    if not isinstance(features, Tensor):
        raise TypeError(
            f"The encoder must give a tensor (image, feature), but gave a {type(features).__name__}. Wrap it in a "
            "module that picks the features out."
        )
    if features.ndim != 2 or features.shape[1] != readout.n_features:
        raise ValueError(
            f"The readout expects (image, feature) with {readout.n_features} features, but the encoder gives "
            f"shape {tuple(features.shape)}. Use the layer and the pooling with which the readout was fitted."
        )
    if not bool(torch.isfinite(features).all()):
        raise ValueError(
            "The encoder's features are not finite (NaN or infinite). Expected finite numbers: look for NaN in the "
            "images and in the network's weights."
        )
    return features
