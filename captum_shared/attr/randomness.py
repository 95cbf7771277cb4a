"""Random numbers of a call's own: Captum draws from the random states of torch and NumPy, which are everybody's."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, final

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_DRAWING: Final = (torch.normal, torch.rand, torch.randn, torch.randint, torch.randperm, torch.bernoulli)
_NUMPY: Final = threading.RLock()


@final
class _OwnGenerator(TorchFunctionMode):
    """Gives the functions of torch that draw a generator, in this thread alone; the random state stays as it is."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed
        self._generators: dict[torch.device, torch.Generator] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _DRAWING and kwargs.get("generator") is None:
            tensors = (each for each in args if isinstance(each, Tensor))
            device = next((each.device for each in tensors), torch.device(kwargs.get("device") or "cpu"))
            if device not in self._generators:
                self._generators[device] = torch.Generator(device).manual_seed(self._seed)
            kwargs = {**kwargs, "generator": self._generators[device]}
        return func(*args, **kwargs)


@contextmanager
def drawn_from(seed: int, *, numpy: bool = True) -> Iterator[None]:
    """Draw from a seed, and leave the random states as they are.

    Torch draws from a generator of its own in this thread alone. NumPy has but one random state: calls that need it
    wait for one another, and it gets back what it was.

    Args:
        seed: the seed.
        numpy: whether NumPy is drawn from, as Captum's GradientShap does.

    Yields:
        Nothing.

    Example:
        >>> with drawn_from(1):
        ...     first = torch.rand(2), np.random.rand()
        >>> with drawn_from(1):
        ...     torch.equal(torch.rand(2), first[0]), np.random.rand() == first[1]
        (True, True)
    """
    with _OwnGenerator(seed):
        if not numpy:
            yield
            return
        with _NUMPY:
            state = np.random.get_state()
            try:
                np.random.seed(seed)
                yield
            finally:
                np.random.set_state(state)
