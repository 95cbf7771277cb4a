"""What a neuron is: a linear readout of the latent features of a network."""

from __future__ import annotations

import difflib
import operator
import os
from collections.abc import Sequence
from typing import Any, SupportsIndex, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_shared.neurons.arrays import Array
from captum_shared.neurons.checks import as_tensor, check_length, check_square, checked_names
from captum_shared.neurons.stored import read_tensors, unreadable, write_tensors

_MOST_EXAMPLES = 1000


@final
class LinearReadout(nn.Module):
    r"""Linear readout of latent features, one row of weights per neuron.

    .. math:: y_k = w_k \cdot f(x) + b_k

    It is fitted, not trained: weight, bias and feature mean are buffers (they move with ``.to()`` and are in the
    ``state_dict``), copied from the arguments and without gradient.

    Args:
        weight: :math:`w`, (neuron, feature), or (feature,) for one neuron; response units per feature unit, any
            finite number. Floating dtypes are kept, integers become torch's default dtype.
        bias: :math:`b`, (neuron,), response units; a number for one neuron. Default: zeros.
        feature_mean: :math:`m`, (feature,), feature units. Only for centring, :math:`v(x) = f(x) - m`, in the
            neuron-specific similarity; it never changes a prediction. Default: zeros, the paper's setting.
        neuron_names: one distinct name per neuron. Default: ``"0"``, ``"1"``, ...

    Attributes:
        examples: what it predicts for images that it knows, less what it predicts for the mean; None with no examples.
        scatter: how its predictions for single places scatter about those for their images; with no examples that of
            the features, of :meth:`uniform`, or None.

    Raises:
        TypeError: if an array is not made of real numbers, or a name is not a string.
        ValueError: if a shape does not fit, a number is not finite, or names are repeated or too few or many.

    Example:
        >>> readout = LinearReadout([[1.0, 0.0], [0.5, 2.0]], bias=[0.0, 1.0], neuron_names=["A", "B"])
        >>> readout(torch.tensor([[2.0, 1.0]]))
        tensor([[2., 4.]])
        >>> readout.neuron_index("B")
        1
    """

    weight: Tensor
    bias: Tensor
    feature_mean: Tensor
    examples: Tensor | None
    scatter: Tensor | None

    def __init__(
        self,
        weight: Array | Sequence[Any],
        bias: Array | Sequence[float] | float | None = None,
        feature_mean: Array | Sequence[float] | None = None,
        *,
        neuron_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        matrix = as_tensor(weight, "weight", like=None)
        matrix = matrix[None] if matrix.ndim == 1 else matrix
        if matrix.ndim != 2 or matrix.numel() == 0:
            raise ValueError(
                "Expected weight of shape (neuron, feature), or (feature,) for one neuron, none of them empty, "
                f"got {tuple(matrix.shape)}: pass one row of weights per neuron."
            )
        n_neurons, n_features = matrix.shape
        offset = torch.zeros_like(matrix[:, 0]) if bias is None else as_tensor(bias, "bias", like=matrix)
        offset = offset[None] if offset.ndim == 0 else offset
        mean = (
            torch.zeros_like(matrix[0])
            if feature_mean is None
            else as_tensor(feature_mean, "feature_mean", like=matrix)
        )
        check_length(offset, n_neurons, "bias", "neuron")
        check_length(mean, n_features, "feature_mean", "feature")
        self.register_buffer("weight", matrix)
        self.register_buffer("bias", offset)
        self.register_buffer("feature_mean", mean)
        self.register_buffer("examples", None)
        self.register_buffer("scatter", None)
        self._neuron_names = checked_names(neuron_names, n_neurons)

    @classmethod
    def uniform(
        cls, n_features: int, feature_mean: Array | Sequence[float] | None = None, scatter: Array | None = None
    ) -> LinearReadout:
        """One neuron that weighs all features alike: neuron-specific similarity becomes plain cosine similarity.

        Args:
            n_features: number of features, at least 1.
            feature_mean: as in the constructor.
            scatter: as of :meth:`with_examples`. With it :class:`~captum_shared.SharedCorrespondence` compares places
                in all features, whitened, and no neuron drives (:mod:`captum_shared.attr.places`).

        Returns:
            A readout with one neuron, all weights 1, bias 0.

        Raises:
            ValueError: if ``n_features`` is below 1, or a shape does not fit.

        Example:
            >>> LinearReadout.uniform(3).weight
            tensor([[1., 1., 1.]])
        """
        if n_features < 1:
            raise ValueError(f"Expected n_features of at least 1, got {n_features}.")
        readout = cls(torch.ones(1, n_features), feature_mean=feature_mean)
        return readout if scatter is None else readout._knowing(None, as_tensor(scatter, "scatter", like=None))

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        feature_mean: Array | Sequence[float] | None = None,
        neuron_names: Sequence[str] | None = None,
    ) -> LinearReadout:
        r"""Readout that predicts what a fitted linear estimator predicts, with all steps folded into one.

        .. math:: w \cdot (A x + c) + b = (w A) x + (b + w c)

        Args:
            estimator: a fitted linear regressor of scikit-learn or himalaya, alone or at the end of pipelines of
                scalers, linear projections and feature selectors, in a parameter search, or one per neuron in a
                ``MultiOutputRegressor``. It is not changed.
            feature_mean: as in the constructor, in the units of the features before any scaler.
            neuron_names: as in the constructor.

        Returns:
            The readout, in float64.

        Raises:
            TypeError: if an estimator or a step is not supported.
            ValueError: if it is not fitted, or does not predict linearly (checked on a few random vectors).

        Example:
            >>> from sklearn.linear_model import LinearRegression
            >>> LinearReadout.from_estimator(LinearRegression().fit([[0.0], [1.0]], [1.0, 3.0])).bias.round(decimals=6)
            tensor([1.], dtype=torch.float64)
        """
        from captum_shared.neurons.estimators import folded  # scikit-learn, which nothing else here needs

        weight, bias = folded(estimator)
        return cls(weight, bias, feature_mean, neuron_names=neuron_names)

    def with_examples(self, features: Array, scatter: Array | None) -> LinearReadout:
        r"""Return the same neurons, which know what images look like to them, and how places differ within an image.

        .. math:: e_i = W (f(x_i) - m), \qquad S_W = W S W^\top

        With that :class:`~captum_shared.SharedCorrespondence` tells places apart that a neuron alone cannot.

        Args:
            features: latent features f of images, (image, feature), at least one; of more than 1,000 as many are
                taken, evenly spaced.
            scatter: S, (feature, feature), of :func:`~captum_shared.encoders.local_scatter`; None where the layer has
                no positions, which leaves the readout as it is.

        Returns:
            A new readout, larger by (example, neuron) and (neuron, neuron) numbers.

        Raises:
            TypeError: if an array is not made of real numbers.
            ValueError: if a shape does not fit, or a number is not finite.

        Example:
            >>> readout = LinearReadout([[2.0, 0.0]], feature_mean=[1.0, 1.0])
            >>> known = readout.with_examples(torch.tensor([[1.0, 5.0], [3.0, 5.0]]), torch.eye(2))
            >>> known.examples, known.scatter
            (tensor([[0.],
                    [4.]]), tensor([[4.]]))
        """
        if scatter is None:
            return self
        weight = self.weight.double()
        images, covariance = (
            as_tensor(each, name, like=weight) for each, name in ((features, "features"), (scatter, "scatter"))
        )
        if images.shape != (len(images), self.n_features) or len(images) == 0:
            raise ValueError(f"Expected features of shape (image, {self.n_features}), got {tuple(images.shape)}.")
        check_square(covariance, self.n_features)
        kept = torch.arange(min(len(images), _MOST_EXAMPLES)) * len(images) // min(len(images), _MOST_EXAMPLES)
        examples = (images[kept.to(images.device)] - self.feature_mean.double()) @ weight.mT
        return self._knowing(examples, weight @ covariance @ weight.mT)

    def _knowing(self, examples: Tensor | None, scatter: Tensor) -> LinearReadout:
        """Return the same neurons with these examples, or with a scatter of features."""
        same = LinearReadout(self.weight, self.bias, self.feature_mean, neuron_names=self._neuron_names)
        side = self.n_neurons if examples is not None else self.n_features
        check_square(scatter, side)
        if examples is not None and (examples.shape[1:] != (self.n_neurons,) or len(examples) == 0):
            raise ValueError(f"its examples have shape {tuple(examples.shape)}, not a column for each neuron")
        same.examples = None if examples is None else as_tensor(examples, "examples", like=self.weight)
        same.scatter = as_tensor(scatter, "scatter", like=self.weight)
        return same

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LinearReadout:
        """Read what ``save`` wrote: the same numbers in the same dtype, and the names, on the CPU.

        Args:
            path: the file.

        Returns:
            The readout.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged, or not a readout of this format version or the one before.
        """
        tensors, metadata = read_tensors(path)
        try:
            examples, scatter = (tensors.pop(name, None) for name in ("examples", "scatter"))
            readout = cls(**tensors, neuron_names=metadata["neuron_names"])
            return readout if scatter is None else readout._knowing(examples, scatter)
        except (TypeError, ValueError) as error:
            raise unreadable(path, error) from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the readout to a safetensors file, all of it or nothing; an existing file is replaced.

        Args:
            path: the file, in an existing folder.

        Raises:
            FileNotFoundError: if the folder does not exist.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     LinearReadout.uniform(2).save(folder + "/readout.safetensors")
            ...     LinearReadout.load(folder + "/readout.safetensors")
            LinearReadout(n_neurons=1, n_features=2)
        """
        tensors = {name: buffer.cpu().contiguous() for name, buffer in self.named_buffers()}
        write_tensors(path, tensors, self._neuron_names)

    @property
    def n_neurons(self) -> int:
        """Number of neurons, at least 1."""
        return self.weight.shape[0]

    @property
    def n_features(self) -> int:
        """Number of latent features, at least 1."""
        return self.weight.shape[1]

    @property
    def neuron_names(self) -> tuple[str, ...]:
        """One distinct name per neuron, in the order of the rows of ``weight``."""
        return self._neuron_names

    def neuron_index(self, neuron: str | SupportsIndex) -> int:
        """Position of a neuron, by name or by position.

        Args:
            neuron: a name, or a position from 0 to ``n_neurons - 1`` (choice: negative ones are refused).

        Returns:
            The position, usable as Captum's ``target``.

        Raises:
            TypeError: if it is neither a string nor an integer.
            ValueError: if there is no such neuron; close matches are listed.

        Example:
            >>> LinearReadout.uniform(2).neuron_index("0")
            0
        """
        if isinstance(neuron, str):
            if neuron in self._neuron_names:
                return self._neuron_names.index(neuron)
            close = difflib.get_close_matches(neuron, self._neuron_names) or self._neuron_names[:3]
            raise ValueError(f"No neuron is named {neuron!r} among {self.n_neurons}; close: {', '.join(close)}.")
        if not isinstance(neuron, SupportsIndex):
            raise TypeError(f"Expected a neuron's name or its position, got {neuron!r}.")
        index = operator.index(neuron)
        if not 0 <= index < self.n_neurons:
            raise ValueError(f"Expected a neuron from 0 to {self.n_neurons - 1}, or its name, got {index}.")
        return index

    def forward(self, features: Float[Tensor, "image feature"]) -> Float[Tensor, "image neuron"]:
        """Predict the responses.

        Args:
            features: latent features, (image, feature), on any device. The prediction is computed
                in the wider of the two dtypes.

        Returns:
            Responses, (image, neuron), in the units the readout was fitted in.

        Raises:
            ValueError: if the number of features is not the readout's.
        """
        if features.ndim != 2 or features.shape[1] != self.n_features:
            raise ValueError(
                f"Expected features of shape (image, {self.n_features}), got {tuple(features.shape)}: use the "
                "network, layer and pooling that the readout was fitted on."
            )
        dtype = torch.promote_types(features.dtype, self.weight.dtype)
        weight, bias = (buffer.to(features.device, dtype) for buffer in (self.weight, self.bias))
        return nn.functional.linear(features.to(dtype), weight, bias)

    def extra_repr(self) -> str:
        """Numbers of neurons and features, for ``print``."""
        return f"n_neurons={self.n_neurons}, n_features={self.n_features}"
