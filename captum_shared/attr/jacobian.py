"""Any attribution class of Captum in the place of plain gradients, checked by trying it."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import torch
from captum.attr import Attribution, IntegratedGradients
from torch import Tensor, nn

from captum_shared.attr._captum import captum_quiet
from captum_shared.attr.pairs import Pair
from captum_shared.attr.projection import SharedProjection
from captum_shared.attr.randomness import drawn_from
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.neurons.readout import LinearReadout

Jacobian: TypeAlias = Literal["gradient", "integrated_gradients"] | Callable[[nn.Module], Attribution]
"""How shared weights get to the pixels: by name, or what builds an attribution of Captum on a module."""

_EXPECTED = (
    "Expected jacobian to be 'gradient', 'integrated_gradients', or an attribution class of Captum that needs nothing "
    "but a module, or a function that builds one"
)


def builder_of(jacobian: Jacobian, multiply_by_inputs: bool | None) -> Callable[[nn.Module], Attribution] | None:
    """Return what builds the attribution of a module.

    A class or function is tried first, on two inputs of two pixels, and has to give a map of each. One whose
    ``attribute`` needs further arguments, such as ``Occlusion``, is only built.

    Args:
        jacobian: by name, class or function.
        multiply_by_inputs: handed to the class or function, unless None.

    Returns:
        From a module to an attribution; None for plain gradients.

    Raises:
        ValueError: if it is unknown, or the trial fails.

    Example:
        >>> from captum.attr import Saliency
        >>> type(builder_of(Saliency, None)(nn.Flatten())).__name__
        'Saliency'
    """
    if jacobian == "gradient":
        return None
    build: Any = IntegratedGradients if jacobian == "integrated_gradients" else jacobian
    if not callable(build):
        raise ValueError(f"{_EXPECTED}, but got {jacobian!r}.")
    if isinstance(build, type):
        _try_class(build, multiply_by_inputs)
    else:
        _try(_choosing(build, multiply_by_inputs), getattr(build, "__name__", repr(build)))
    return _choosing(build, multiply_by_inputs)


def check_arguments(attribution: Attribution, arguments: Mapping[str, Any]) -> None:
    """Make sure that an attribution takes the arguments that it is about to be called with, and needs no others.

    Args:
        attribution: what is called.
        arguments: by name, besides the inputs and ``additional_forward_args``.

    Raises:
        TypeError: if it does not take one of them, or needs another.
    """
    try:
        inspect.signature(attribution.attribute).bind(None, additional_forward_args=None, **arguments)
    except TypeError as error:
        raise TypeError(
            f"Expected the arguments of {type(attribution).__name__}.attribute, but: {error}. Leave out what it does "
            "not take, and add what it needs to jacobian_arguments."
        ) from error


def checked_maps(maps: object, inputs: Pair) -> Pair:
    """Return what an attribution gave, if it is a map of each input.

    Args:
        maps: what it gave.
        inputs: the pair.

    Returns:
        The same maps.

    Raises:
        ValueError: if they are anything else.
    """
    expected, got = _told(inputs), _told(maps)
    if not isinstance(maps, tuple) or got != expected:
        raise ValueError(f"Expected a tuple of two maps of the shapes {expected} of the inputs, but got {got}.")
    return maps[0], maps[1]


def _choosing(build: Any, multiply_by_inputs: bool | None) -> Callable[[nn.Module], Attribution]:
    choices = {} if multiply_by_inputs is None else {"multiply_by_inputs": multiply_by_inputs}
    return functools.partial(build, **choices)


@functools.cache
def _try_class(kind: type, multiply_by_inputs: bool | None) -> None:
    if kind is not IntegratedGradients or multiply_by_inputs is None:
        _try(_choosing(kind, multiply_by_inputs), kind.__name__)


def _try(build: Callable[[nn.Module], Attribution], name: str) -> None:
    """Attribute the projection of two inputs of two pixels, leaving the random states alone."""
    with torch.inference_mode(False), drawn_from(0), captum_quiet():  # what it warns of will be seen where it is used
        pixels = torch.tensor([[1.0, 2.0], [2.0, 1.0]]).reshape(2, 1, 1, 2)
        pair = pixels.clone().requires_grad_(), pixels.flip(0).requires_grad_()
        projection = SharedProjection(NeuronSimilarity(nn.Flatten(), LinearReadout.uniform(2)))
        try:
            attribution = build(projection)
            if not isinstance(attribution, Attribution):
                raise TypeError(f"a {type(attribution).__name__} is no Attribution of Captum")
            if _needs_arguments(attribution):
                return
            weights = torch.ones(2, 2)
            checked_maps(attribution.attribute(pair, additional_forward_args=(weights,)), pair)
        except Exception as error:
            raise ValueError(f"{_EXPECTED}, but {name} fails on a network of two pixels: {error}") from error


def _needs_arguments(attribution: Attribution) -> bool:
    try:
        check_arguments(attribution, {})
    except TypeError:
        return True
    return False


def _told(maps: object) -> str:
    if not isinstance(maps, tuple):
        return f"a {type(maps).__name__}"
    return ", ".join(str(tuple(one.shape)) if isinstance(one, Tensor) else type(one).__name__ for one in maps)
