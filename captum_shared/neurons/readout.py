"""What a neuron is: a linear readout of the latent features of a network."""

from __future__ import annotations

import difflib
import json
import operator
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex, final

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

from captum_shared._files import write_atomically
from captum_shared.neurons.arrays import Array

_FORMAT = "captum_shared.LinearReadout, version 1"


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

    def __init__(
        self,
        weight: Array | Sequence[Any],
        bias: Array | Sequence[float] | float | None = None,
        feature_mean: Array | Sequence[float] | None = None,
        *,
        neuron_names: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        matrix = _as_tensor(weight, "weight", like=None)
        matrix = matrix[None] if matrix.ndim == 1 else matrix
        if matrix.ndim != 2 or matrix.numel() == 0:
            raise ValueError(
                "Expected weight of shape (neuron, feature), or (feature,) for one neuron, none of them empty, "
                f"got {tuple(matrix.shape)}: pass one row of weights per neuron."
            )
        n_neurons, n_features = matrix.shape
        offset = torch.zeros_like(matrix[:, 0]) if bias is None else _as_tensor(bias, "bias", like=matrix)
        offset = offset[None] if offset.ndim == 0 else offset
        mean = (
            torch.zeros_like(matrix[0])
            if feature_mean is None
            else _as_tensor(feature_mean, "feature_mean", like=matrix)
        )
        _check_length(offset, n_neurons, "bias", "neuron")
        _check_length(mean, n_features, "feature_mean", "feature")
        self.register_buffer("weight", matrix)
        self.register_buffer("bias", offset)
        self.register_buffer("feature_mean", mean)
        self._neuron_names = _checked_names(neuron_names, n_neurons)

    @classmethod
    def uniform(cls, n_features: int) -> LinearReadout:
        """One neuron that weighs all features alike: neuron-specific similarity becomes plain cosine similarity.

        Args:
            n_features: number of features, at least 1.

        Returns:
            A readout with one neuron, all weights 1, bias 0.

        Raises:
            ValueError: if ``n_features`` is below 1.

        Example:
            >>> LinearReadout.uniform(3).weight
            tensor([[1., 1., 1.]])
        """
        if n_features < 1:
            raise ValueError(f"Expected n_features of at least 1, got {n_features}.")
        return cls(torch.ones(1, n_features))

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

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> LinearReadout:
        """Read what ``save`` wrote: the same numbers in the same dtype, and the names, on the CPU.

        Args:
            path: the file.

        Returns:
            The readout.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file is damaged, or not a readout of this format version.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"Expected a file saved by LinearReadout.save, got no file at {path}.")
        try:
            with safe_open(path, framework="pt") as file:
                metadata = json.loads((file.metadata() or {}).get("readout", "{}"))
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            if metadata.get("format") != _FORMAT:
                raise ValueError(f"its format is {metadata.get('format')!r}, not {_FORMAT!r}")
            held = {*tensors, *metadata}
            if held != {"format", "neuron_names", "weight", "bias", "feature_mean"}:
                raise ValueError(f"it holds {sorted(held)}, not weight, bias, feature_mean and neuron_names")
            return cls(**tensors, neuron_names=metadata["neuron_names"])
        except (SafetensorError, OSError, TypeError, ValueError) as error:
            raise ValueError(
                f"Expected {path} to be a readout saved by LinearReadout.save, got: {error}. Save it again."
            ) from error

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
        target = Path(path)
        if not target.parent.is_dir():
            raise FileNotFoundError(f"Expected an existing folder for {target}: create {target.parent} first.")
        tensors = {name: buffer.cpu().contiguous() for name, buffer in self.named_buffers()}
        metadata = {"format": _FORMAT, "neuron_names": self._neuron_names}
        with write_atomically(target) as temporary:  # one entry, as several come in an order that changes
            temporary.write_bytes(to_safetensors(tensors, {"readout": json.dumps(metadata)}))

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


def _as_tensor(array: Any, name: str, *, like: Tensor | None) -> Tensor:
    """A detached copy with finite numbers, in the dtype and on the device of ``like``."""
    try:
        tensor = torch.as_tensor(array.copy() if isinstance(array, np.ndarray) else array).detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"Expected {name} as a tensor or array of numbers, got {type(array).__name__}.") from error
    if tensor.is_complex():
        raise TypeError(f"Expected {name} with real numbers, got {tensor.dtype}.")
    if not torch.isfinite(tensor).all():
        raise ValueError(f"Expected {name} with finite numbers, got NaN or infinity: refit on clean responses.")
    if like is not None:
        return tensor.to(device=like.device, dtype=like.dtype, copy=True)
    return tensor.to(dtype=tensor.dtype if tensor.is_floating_point() else torch.get_default_dtype(), copy=True)


def _check_length(vector: Tensor, length: int, name: str, axis: str) -> None:
    if vector.shape != (length,):
        raise ValueError(
            f"Expected {name} of shape ({length},), one number per {axis} of weight, got {tuple(vector.shape)}."
        )


def _checked_names(names: Sequence[str] | None, n_neurons: int) -> tuple[str, ...]:
    if names is None:
        return tuple(str(index) for index in range(n_neurons))
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"Expected neuron_names as a sequence of strings, got {names!r}.")
    if len(names) != n_neurons:
        raise ValueError(f"Expected {n_neurons} neuron_names, one per row of weight, got {len(names)}.")
    repeated = sorted({name for name in names if list(names).count(name) > 1})
    if repeated:
        raise ValueError(f"Expected distinct neuron_names, got more than once: {', '.join(repeated)}.")
    return tuple(names)
