"""Every use of Captum's private helpers, so that a change in Captum is met in one place."""

import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeAlias, TypeVar, final

import captum.log
import torch
from captum._utils.common import _select_targets
from captum._utils.gradient import compute_layer_gradients_and_eval
from captum.attr._utils.approximation_methods import approximation_parameters
from jaxtyping import Int
from torch import Tensor, nn

from captum_shared.neurons.readout import LinearReadout

TargetType: TypeAlias = int | tuple[int, ...] | Tensor | list[int] | list[tuple[int, ...]] | str | list[str] | None
"""What Captum takes as target, or names of neurons."""

Method = TypeVar("Method", bound=Callable[..., Any])


def log_usage() -> Callable[[Method], Method]:
    """Captum's decorator of what users call; with types, so that those of the method are kept.

    Returns:
        The decorator.

    Example:
        >>> @log_usage()
        ... def attribute(self: object, inputs: int) -> int:
        ...     return inputs + 1
        >>> attribute(None, 1), attribute.__wrapped__(None, 1)
        (2, 2)
    """
    decorator: Callable[[Method], Method] = captum.log.log_usage()
    return decorator


def named_target(readout: LinearReadout, target: TargetType) -> Any:
    """Put the index of a neuron in the place of its name.

    Args:
        readout: the neurons.
        target: as in Captum, or a name or a list of names.

    Returns:
        The target, as in Captum.

    Raises:
        ValueError: if no neuron has the name (close ones are listed).

    Example:
        >>> named_target(LinearReadout([[1.0], [2.0]], neuron_names=["A", "B"]), ["B", "A", "A"])
        [1, 0, 0]
    """
    if isinstance(target, str):
        return readout.neuron_index(target)
    if isinstance(target, (list, tuple)) and any(isinstance(name, str) for name in target):
        each: list[Any] = [readout.neuron_index(name) if isinstance(name, str) else name for name in target]
        return tuple(each) if isinstance(target, tuple) else each
    return target


def select_neurons(n_images: int, n_neurons: int, target: Any) -> Int[Tensor, " image"]:
    """Return the index of the neuron that a Captum ``target`` selects for each image.

    The indices are picked by Captum's own selection from a table of neuron numbers, so that every form of
    ``target`` means here what it means there and a wrong one fails in the same way.

    Args:
        n_images: number of images in the batch.
        n_neurons: number of neurons in the readout.
        target: an int or a one-element tuple for all images; a list of ints, a tensor or a list of
            one-element tuples with one entry an image; None where there is only one neuron.

    Returns:
        The neuron of each image, shape (image,), in the range 0 to ``n_neurons - 1``.

    Raises:
        AssertionError: as Captum does, if ``target`` is missing where there are several neurons, or has a
            wrong length or type.
        IndexError: as PyTorch does, if it is out of range.

    Example:
        >>> select_neurons(2, 4, [3, 0])
        tensor([3, 0])
    """
    device = target.device if isinstance(target, Tensor) else None
    neurons = torch.arange(n_neurons, device=device).expand(n_images, n_neurons)
    selected: Tensor = _select_targets(neurons, target)
    if selected[0].numel() != 1:
        raise AssertionError(
            "Target not provided when necessary, cannot take gradient with respect to multiple outputs."
        )
    return selected.reshape(n_images)


def quadrature(method: str, n_steps: int) -> tuple[list[float], list[float]]:
    """Return the steps of Captum's Integrated Gradients.

    Args:
        method: as there.
        n_steps: as there.

    Returns:
        The size of each step, and where it is between 0 and 1.

    Raises:
        ValueError: if the method is unknown.

    Example:
        >>> quadrature("riemann_middle", 2)
        ([0.5, 0.5], [0.25, 0.75])
    """
    sizes, alphas = approximation_parameters(method)
    return [float(each) for each in sizes(n_steps)], [float(each) for each in alphas(n_steps)]


def layer_gradients(
    network: nn.Module, layers: Sequence[nn.Module], inputs: tuple[Tensor, ...], target: TargetType
) -> list[tuple[Tensor, Tensor]]:
    """Compute what Captum's layer methods start from, for several layers in one pass.

    Args:
        network: one column a neuron.
        layers: modules in it, whose output is one tensor.
        inputs: inputs of the network.
        target: the neuron, as anywhere in Captum.

    Returns:
        For each layer the gradient of the neuron at its output, and that output.

    Example:
        >>> network = nn.Sequential(nn.Identity(), nn.Linear(2, 1, bias=False))
        >>> ((gradient, output),) = layer_gradients(network, [network[0]], (torch.ones(1, 2),), 0)
        >>> torch.equal(gradient, network[1].weight), output
        (True, tensor([[1., 1.]], grad_fn=...))
    """
    compute: Any = compute_layer_gradients_and_eval
    gradients, outputs = compute(network, list(layers), inputs, target)
    return [(gradient[0], output[0]) for gradient, output in zip(gradients, outputs, strict=True)]


@final
class _Call:
    """A call that is under way."""


_QUIET: Final = threading.Lock()
_CALLS: Final[weakref.WeakSet[_Call]] = weakref.WeakSet()  # one whose end was interrupted is not waited for
_HOOK_WARNING: Final = "Setting (forward, )?backward hooks"


@contextmanager
def captum_quiet() -> Iterator[None]:
    """Silence what Captum says on every call that sets hooks.

    ``warnings.catch_warnings`` puts back all filters at its end, in several threads those of one another. Here the last
    call that runs takes away the one filter that is ours.

    Yields:
        Nothing.

    Example:
        >>> with captum_quiet():
        ...     warnings.warn("Setting backward hooks on ReLU activations.", stacklevel=1)
    """
    call = _Call()
    with _QUIET:
        _CALLS.add(call)
        warnings.filterwarnings("ignore", _HOOK_WARNING)
    try:
        yield
    finally:
        with _QUIET:
            _CALLS.discard(call)
            if not _CALLS:
                own = [entry for entry in warnings.filters if getattr(entry[1], "pattern", None) == _HOOK_WARNING]
                for entry in own:
                    warnings.filters.remove(entry)  # type: ignore[attr-defined]
