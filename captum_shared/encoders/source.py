"""The model that a network was cut from, so that what happens to it is followed."""

import threading
import weakref
from dataclasses import dataclass
from typing import Any, Final, final

from torch import Tensor, nn

from captum_shared.encoders.twins import TIED

_KINDS: Final = ("_parameters", "_buffers")


@final
class Source:
    """The model that a network was cut from, as long as somebody holds it; all tied copies of the network share it.

    What is changed in place is in the memory that both share. Tensors that were replaced, or moved to another dtype or
    device, are taken over; modules that were replaced are refused. A network that was itself moved stays where it is.

    Args:
        model: the model.
        network: the network, whose modules stand under the same names.
        prefix: what comes before these names in the network.

    Example:
        >>> import torch
        >>> model, network = nn.Sequential(nn.Linear(1, 1)), nn.Sequential(nn.Linear(1, 1))
        >>> source = Source(model, network)
        >>> model[0].weight = nn.Parameter(torch.tensor([[5.0]]))
        >>> source.follow(network)
        >>> network[0].weight
        Parameter containing:
        tensor([[5.]], requires_grad=True)
    """

    def __init__(self, model: nn.Module, network: nn.Module, prefix: str = "") -> None:
        originals = {prefix + path: module for path, module in model.named_modules(remove_duplicate=False)}
        originals[prefix.rstrip(".")] = model
        cut = {path: originals[path] for path, _ in network.named_modules() if path in originals}
        self._links = [_Link.of(path, module, originals) for path, module in cut.items() if module is not model]
        self._tensors = [
            _Taken.of(path, kind, name, module)
            for path, module in cut.items()
            for kind in _KINDS
            for name in vars(network.get_submodule(path))[kind]
            if isinstance(vars(module)[kind].get(name), Tensor)
        ]
        self._lock = threading.Lock()

    def follow(self, network: nn.Module) -> None:
        """Take over what was replaced in the model.

        Args:
            network: the network, or a tied copy of it.

        Raises:
            ValueError: if modules of it were replaced, or hold other tensors than before.
        """
        changed = [link.path for link in self._links if link.is_broken()]
        if changed:
            raise _replaced(changed[0])
        if any(taken.is_stale() for taken in self._tensors):
            with self._lock:
                for taken in self._tensors:
                    if taken.is_stale():
                        taken.take(network)

    def forget(self, paths: set[str]) -> None:
        """Take no notice of modules that the network never reaches.

        Args:
            paths: their names in the network.
        """
        self._links = [link for link in self._links if link.path not in paths]
        self._tensors = [taken for taken in self._tensors if taken.path not in paths]


@final
@dataclass(eq=False)
class Known:
    """What all tied copies of features know together: the model they are of, and the last images they saw.

    Attributes:
        source: the model that they were cut from; None in an independent copy.
        unchecked: the model itself stopped at the layer, until the first images have shown that the cut is right.
        cut_shape: shape of one image's activation at the cut.
        feature_shape: shape of one image's features.

    Example:
        >>> import copy
        >>> copy.deepcopy(Known(unchecked=nn.ReLU(), cut_shape=(3, 2, 2)))
        Known(source=None, unchecked=None, cut_shape=(3, 2, 2), feature_shape=None)
    """

    source: Source | None = None
    unchecked: nn.Module | None = None
    cut_shape: tuple[int, ...] | None = None
    feature_shape: tuple[int, ...] | None = None

    def __deepcopy__(self, memo: dict[Any, Any]) -> "Known":
        return self if TIED in memo else Known(cut_shape=self.cut_shape, feature_shape=self.feature_shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return Known, (None, None, self.cut_shape, self.feature_shape)


@final
@dataclass(frozen=True)
class _Link:
    """A module where it is in the model."""

    path: str
    parent: "weakref.ref[nn.Module]"
    name: str
    module: "weakref.ref[nn.Module]"

    @classmethod
    def of(cls, path: str, module: nn.Module, originals: dict[str, nn.Module]) -> "_Link":
        parent, _, name = path.rpartition(".")
        return cls(path, weakref.ref(originals[parent]), name, weakref.ref(module))

    def is_broken(self) -> bool:
        parent = self.parent()
        return parent is not None and parent._modules.get(self.name) is not self.module()


@final
@dataclass
class _Taken:
    """A tensor of the model, and what it was when the network took it over."""

    path: str
    kind: str
    name: str
    module: "weakref.ref[nn.Module]"
    tensor: "weakref.ref[Tensor]"
    state: tuple[Any, ...]

    @classmethod
    def of(cls, path: str, kind: str, name: str, module: nn.Module) -> "_Taken":
        tensor = vars(module)[kind][name]
        return cls(path, kind, name, weakref.ref(module), weakref.ref(tensor), _state(tensor))

    def is_stale(self) -> bool:
        module = self.module()
        if module is None:
            return False
        tensor = vars(module)[self.kind].get(self.name)
        return tensor is not self.tensor() or tensor is None or _state(tensor) != self.state

    def take(self, network: nn.Module) -> None:
        module = self.module()
        tensor = None if module is None else vars(module)[self.kind].get(self.name)
        own = vars(network.get_submodule(self.path))[self.kind][self.name]
        if tensor is None or tensor.shape != own.shape:
            raise _replaced(self.path)
        was_moved = (own.dtype, own.device) != self.state[:2]
        own.data = tensor.detach().to(own.device, own.dtype) if was_moved else tensor.detach()
        self.tensor, self.state = weakref.ref(tensor), _state(tensor)


def _state(tensor: Tensor) -> tuple[Any, ...]:
    """What tells whether a tensor was changed or moved."""
    version = 0 if tensor.is_inference() else tensor._version
    return tensor.dtype, tensor.device, tensor.data_ptr(), version


def _replaced(path: str) -> ValueError:
    return ValueError(
        f"The model that these features were cut from has other modules by now, or tensors of another shape, at "
        f"{path!r}. Build LatentFeatures, and what is built on them, anew."
    )
