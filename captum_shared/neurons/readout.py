"""What a neuron is: a linear readout of the latent features of a network."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, SupportsIndex, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from captum_shared.neurons.arrays import Array
from captum_shared.neurons.checks import as_tensor, checked_names, checked_parts, index_of
from captum_shared.neurons.known import KNOWN, checked, examples_and_scatter, heldout, told_origin
from captum_shared.neurons.stored import read_tensors, unreadable, write_tensors

Values = Array | Sequence[float]


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
        heldout_correlation: for each neuron the correlation of predicted and recorded responses on held-out images,
            of :meth:`with_heldout`; None if not recorded.
        null_interval: (neuron, end), the interval that holds it by chance alone; None likewise.
        origin: the encoder of the features it was fitted to, of :meth:`with_origin`; None if not recorded.

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
    heldout_correlation: Tensor | None
    null_interval: Tensor | None
    origin: Mapping[str, Any] | None

    def __init__(
        self,
        weight: Array | Sequence[Any],
        bias: Array | Sequence[float] | float | None = None,
        feature_mean: Array | Sequence[float] | None = None,
        *,
        neuron_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        matrix, offset, mean = checked_parts(weight, bias, feature_mean)
        self.register_buffer("weight", matrix)
        self.register_buffer("bias", offset)
        self.register_buffer("feature_mean", mean)
        for name in KNOWN:
            self.register_buffer(name, None)
        self.origin = None
        self._neuron_names = checked_names(neuron_names, len(matrix))

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

        Raises:
            ValueError: if ``n_features`` is below 1, or a shape does not fit.

        Example:
            >>> LinearReadout.uniform(3).weight
            tensor([[1., 1., 1.]])
        """
        if n_features < 1:
            raise ValueError(f"Expected n_features of at least 1, got {n_features}.")
        readout = cls(torch.ones(1, n_features), feature_mean=feature_mean)
        return readout if scatter is None else readout._knowing(scatter=as_tensor(scatter, "scatter", like=None))

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        feature_mean: Array | Sequence[float] | None = None,
        neuron_names: Sequence[str] | None = None,
    ) -> LinearReadout:
        """Readout, in float64, that predicts what a fitted linear estimator predicts, with all steps folded into one.

        Args:
            estimator: a fitted linear regressor of scikit-learn or himalaya, alone or at the end of pipelines of
                scalers, linear projections and feature selectors, in a parameter search, or one per neuron in a
                ``MultiOutputRegressor``. It is not changed.
            feature_mean: as in the constructor, in the units of the features before any scaler.
            neuron_names: as in the constructor.

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
        examples, own = examples_and_scatter(self.weight, self.feature_mean, features, scatter)
        return self._knowing(examples=examples, scatter=own)

    def with_heldout(self, correlation: Values, low: Values, high: Values) -> LinearReadout:
        """Return a new readout of the same neurons, which knows how well they predict images they were not fitted to.

        Args:
            correlation: of :func:`~captum_shared.heldout_correlation`, (neuron,); NaN where it is not known.
            low: lower end of :func:`~captum_shared.heldout_null_interval`, (neuron,).
            high: its upper end.

        Raises:
            TypeError: if an array is not made of real numbers.
            ValueError: if a shape does not fit.

        Example:
            >>> readout = LinearReadout([[2.0, 0.0], [1.0, 1.0]])
            >>> readout.with_heldout([0.6, 0.1], [-0.2, -0.2], [0.2, 0.2]).predicted
            (True, False)
        """
        known, interval = heldout(self.n_neurons, correlation, low, high)
        return self._knowing(heldout_correlation=known, null_interval=interval)

    def with_origin(self, origin: Mapping[str, Any]) -> LinearReadout:
        """Return a new readout of the same neurons, for which ``NeuronSimilarity`` refuses another encoder.

        Args:
            origin: ``features.origin`` of the :class:`~captum_shared.LatentFeatures` that they were fitted to; of any
                other module that of :func:`~captum_shared.encoders.origin_of`.

        Example:
            >>> LinearReadout.uniform(2).with_origin({"network": "ResNet", "layer": "layer3"})
            LinearReadout(n_neurons=1, n_features=2, origin=ResNet, layer3)
        """
        same = self._knowing()
        same.origin = json.loads(json.dumps(dict(origin)))  # as from a file
        return same

    def _knowing(self, **known: Tensor | None) -> LinearReadout:
        """Return the same neurons that know this, too."""
        same = LinearReadout(self.weight, self.bias, self.feature_mean, neuron_names=self._neuron_names)
        for name, tensor in checked({name: getattr(self, name) for name in KNOWN} | known, self.weight).items():
            setattr(same, name, tensor)
        same.origin = self.origin
        return same

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LinearReadout:
        """Read the file that ``save`` wrote: the same numbers in the same dtype, and the names, on the CPU.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged, or not a readout of this format version or an earlier one.
        """
        tensors, metadata = read_tensors(path)
        try:
            known = {name: tensors.pop(name, None) for name in KNOWN}
            readout = cls(**tensors, neuron_names=metadata["neuron_names"])._knowing(**known)
            origin = metadata.get("origin")
            return readout if origin is None else readout.with_origin(origin)
        except Exception as error:  # such as AttributeError, of odd metadata
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
            LinearReadout(n_neurons=1, n_features=2, origin=not recorded)
        """
        tensors = {name: buffer.cpu().contiguous() for name, buffer in self.named_buffers()}
        write_tensors(path, tensors, self._neuron_names, self.origin)

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
        """Return the position of a neuron, which is Captum's ``target``, by its name or position (from 0).

        Raises a ``ValueError`` if there is no such neuron (close matches are listed), a ``TypeError`` for all else.
        """
        return index_of(neuron, self._neuron_names)

    @property
    def predicted(self) -> tuple[bool | None, ...]:
        """For each neuron whether its held-out correlation is above its null interval; None where that is unknown."""
        if self.heldout_correlation is None or self.null_interval is None:
            return (None,) * self.n_neurons
        return tuple((self.heldout_correlation > self.null_interval[:, 1]).tolist())

    def forward(self, features: Float[Tensor, "image feature"]) -> Float[Tensor, "image neuron"]:
        """Predict the responses, (image, neuron), in the units the readout was fitted in.

        Args:
            features: latent features, (image, feature), on any device; the wider of the two dtypes counts.

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
        """Numbers of neurons and features, and where they are from, for ``print``."""
        return f"n_neurons={self.n_neurons}, n_features={self.n_features}, origin={told_origin(self.origin)}"
