"""Cut a network at a named layer."""

import contextlib
import difflib
import math
import operator
from collections.abc import Callable, Collection
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final, final

import torch
import torchvision
from torch import Tensor, fx, nn

from captum_shared.encoders.outputs import picked, split_name
from captum_shared.encoders.twins import TIED, tied_copy

_RELUS: Final = (nn.functional.relu, nn.functional.relu_, torch.relu, torch.relu_, "relu", "relu_")
_LISTED: Final = 30
_IN_PLACE_OPERATORS: Final = {
    getattr(operator, f"i{name}"): getattr(operator, name) for name in ("add", "sub", "mul", "truediv")
}


def cut(model: nn.Module, layer: str) -> tuple[nn.Module, dict[str, str], nn.Module | None]:
    """Cut a network at a layer, without touching it.

    Args:
        model: any module of one input.
        layer: qualified name of a module in it, and what to pick from its output if that is no tensor
            (:func:`~captum_shared.encoders.outputs.split_name`).

    Returns:
        A frozen module in evaluation mode, over the memory of ``model``, from its input to the layer's output; and
        the name in it of the module that has the output of each layer of ``model`` up to the cut; and, where the
        first was made by tracing, the model itself stopped at the layer, to compare it with.

    Raises:
        ValueError: if there is no such layer, or it has no output to cut at.

    Example:
        >>> network, modules, original = cut(nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)), "1")
        >>> network(torch.zeros(5, 3)).shape, modules
        (torch.Size([5, 2]), {'0': '0', '1': '1'})
    """
    names = [name for name, _ in model.named_modules(remove_duplicate=False) if name]
    path, keys = split_name(layer)
    if path or not keys:
        check_layer(path, names, type(model).__name__)
    model = tied_copy(model, _frozen_view).eval()
    for module in model.modules():  # hooks of the caller's, but not those before a forward pass, which make weights
        for key in [key for key, hook in module._forward_hooks.items() if hook is not _keep_output]:
            del module._forward_hooks[key]
        module._backward_hooks.clear()
    original = tied_copy(model)
    path = next(name for name, module in model.named_modules() if module is model.get_submodule(path))
    layer = ":".join((path, *keys))
    overwriting = {name for name, module in model.named_modules() if getattr(module, "inplace", False) is True}
    for name in overwriting:
        setattr(model.get_submodule(name), "inplace", False)  # noqa: B010  (mypy takes a module's attributes for modules)
    tracer = _Tracer(overwriting, layer)
    try:
        graph = tracer.trace(model) if path else None
    except Exception:  # a model may fail to trace in any way at all; what it does when it runs is not lost
        graph = None
    if graph is None:
        return _StoppedNetwork(model, layer), {name: f"model.{name}" for name in names}, None
    if layer not in tracer.outputs:
        raise ValueError(
            f"Layer {layer!r} exists but its output is not a single tensor that the model computes in evaluation mode. "
            f"Pick one of several, such as '{layer}:0', or choose another layer, such as the block around it."
        )
    _erase_unneeded(graph, tracer.outputs[layer])
    graph.output(tracer.outputs[layer])
    modules = _hook_points(model, graph, tracer.outputs)
    return fx.GraphModule(model, graph), modules, _StoppedNetwork(original, layer, tracer.calls[path])


def check_layer(layer: str, names: list[str], where: str) -> None:
    """Raise a ValueError that lists close matches, and the outermost layers, if ``layer`` is not among ``names``.

    Example:
        >>> check_layer("layer2", ["layer1", "layer2"], "the network")
    """
    if layer not in names:
        close = difflib.get_close_matches(layer, names, n=5, cutoff=0.5)
        hint = f"Did you mean {', '.join(close)}? " if close else ""
        levels = sorted({name.count(".") for name in names})
        listed = next(
            (some for level in reversed(levels) if len(some := [n for n in names if n.count(".") <= level]) <= _LISTED),
            names[:_LISTED],
        )
        more = f", and {len(names) - len(listed)} more within them" if len(listed) < len(names) else ""
        raise ValueError(f"There is no layer {layer!r} in {where}. {hint}Its layers: {', '.join(listed)}{more}.")


def _frozen_view(tensor: Tensor) -> Tensor:
    view = tensor.detach()
    return nn.Parameter(view, requires_grad=False) if isinstance(tensor, nn.Parameter) else view


class _Proxy(fx.Proxy):
    """A proxy that keeps ``x += y`` apart from ``x = x + y``."""


def _in_place(operation: Callable[..., Any]) -> Callable[[fx.Proxy, Any], fx.Proxy]:
    return lambda self, other: self.tracer.create_proxy("call_function", operation, (self, other), {})


for _operation in _IN_PLACE_OPERATORS:
    setattr(_Proxy, f"__{_operation.__name__}__", _in_place(_operation))


class _Tracer(fx.Tracer):
    """Records where each layer's output comes from, and undoes what hooks cannot bear while it goes.

    In-place operations become out-of-place ones: whatever reads their target later reads their result instead.
    """

    def __init__(self, overwriting: Collection[str] = (), layer: str = "") -> None:
        super().__init__(autowrap_modules=(math, torchvision.ops))
        self._layer = layer
        self.outputs: dict[str, fx.Node] = {}
        self._overwriting = overwriting  # none when fx builds the graph anew from its own code, as pickle does
        self._overwritten: dict[fx.Node, fx.Node] = {}
        self.calls: dict[str, int] = {}

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        result = super().call_module(m, forward, args, kwargs)
        path = self.path_of_module(m)
        self.calls[path] = self.calls.get(path, 0) + 1
        if isinstance(result, fx.Proxy):
            self.outputs[path] = result.node
        if path != self._layer and path == split_name(self._layer)[0]:
            part = picked(result, self._layer)
            if isinstance(part, fx.Proxy):
                self.outputs[self._layer] = part.node
        return result

    def create_node(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **named: Any) -> fx.Node:
        args, kwargs = fx.node.map_arg(args, self._latest), fx.node.map_arg(kwargs, self._latest)
        source = args[0] if args else kwargs.get("input")
        overwrites = self._overwrites(kind, target, kwargs)
        if kind != "call_module" and target in _RELUS:
            kind, target, args, kwargs = "call_module", self._add("functional_relu", nn.ReLU()), (source,), {}
        elif kind == "call_function":
            target = _IN_PLACE_OPERATORS.get(target, target)
            kwargs = {**kwargs, "inplace": False} if kwargs.get("inplace") else kwargs
        elif kind == "call_method" and overwrites and hasattr(Tensor, target[:-1]):
            target = target[:-1]
        elif kind == "call_module":
            target, args = self._own_copy(target), self._unchained(target, args)
        node = super().create_node(kind, target, args, kwargs, *rest, **named)
        if overwrites and isinstance(source, fx.Node):
            self._overwritten[source] = node
        return node

    def _latest(self, node: fx.Node) -> fx.Node:
        while node in self._overwritten:
            node = self._overwritten[node]
        return node

    def _overwrites(self, kind: str, target: Any, kwargs: Any) -> bool:
        if kind == "call_module":
            return target in self._overwriting
        if kind == "call_method":
            return str(target).endswith("_") and not str(target).endswith("__")
        in_place_functions = (*_IN_PLACE_OPERATORS, torch.relu_, nn.functional.relu_)
        return kind == "call_function" and (target in in_place_functions or bool(kwargs.get("inplace")))

    def _own_copy(self, target: str) -> str:
        """Name a copy of the module for every call of it but the first."""
        earlier = self.calls.get(target, 0)
        if earlier == 0:
            return target
        return self._add(f"{target}_call{earlier + 1}", tied_copy(self.root.get_submodule(target)))

    def _unchained(self, target: str, args: Any) -> Any:
        """Keep activations and poolings from handing on one tensor: it mixes up the hooks of Captum's DeepLift."""
        source = args[0] if args else None
        if not (isinstance(source, fx.Node) and source.op == "call_module"):
            return args
        modules = (self.root.get_submodule(str(path)) for path in (target, source.target))
        if any(len(list(module.parameters())) > 0 for module in modules):
            return args
        return (super().create_node("call_function", torch.ops.aten.alias.default, (source,), {}), *args[1:])

    def _add(self, path: str, module: nn.Module) -> str:
        return _added(self.root, path, module)


def _added(root: Any, path: str, module: nn.Module) -> str:
    """Add a module under a name that is free."""
    parent, _, name = path.rpartition(".")
    siblings = root.get_submodule(parent)
    while hasattr(siblings, name):
        name += "_"
    siblings.add_module(name, module)
    return f"{parent}.{name}" if parent else name


def _erase_unneeded(graph: fx.Graph, last: fx.Node) -> None:
    """Erase all that comes after the last node or that it does not need, but for the model's own checks before it."""
    after = True
    for node in reversed(list(graph.nodes)):
        after = after and node is not last
        needed = node is last or node.users or node.op == "placeholder" or node.target is torch._assert
        if after or not needed:
            graph.erase_node(node)


def _hook_points(model: nn.Module, graph: fx.Graph, outputs: dict[str, fx.Node]) -> dict[str, str]:
    """Give every layer left in the graph a module that has its output: an identity where a function made it."""
    kept = set(graph.nodes)
    points: dict[fx.Node, str] = {}
    for layer, node in outputs.items():
        if node not in kept or node in points:
            continue
        if node.op == "call_module":
            points[node] = str(node.target)
            continue
        points[node] = _added(model, f"{split_name(layer)[0]}.output", nn.Identity())
        with graph.inserting_after(node):
            identity = graph.call_module(points[node], (node,))
        node.replace_all_uses_with(identity)
        identity.replace_input_with(identity, node)
    return {layer: points[node] for layer, node in outputs.items() if node in points}


class _LastCallReached(Exception):  # noqa: N818  (it is no error)
    pass


@final
@dataclass
class _NumberOfCalls:
    """How often a pass calls a layer: counted once for all tied copies; None until then."""

    value: int | None

    def __deepcopy__(self, memo: dict[Any, Any]) -> "_NumberOfCalls":
        return self if TIED in memo else _NumberOfCalls(self.value)


@final
@dataclass
class _Wanted:
    """The outputs of a layer that one pass waits for."""

    module: nn.Module
    layer: str
    n_calls: int | None
    outputs: list[Any] = field(default_factory=list)

    def keep(self, output: Any) -> None:
        output = picked(output, self.layer)
        whole = self.n_calls is None and isinstance(output, Tensor)
        self.outputs.append(output.clone() if whole else output)  # what comes after may overwrite it
        if len(self.outputs) == self.n_calls:
            raise _LastCallReached


_WANTED: Final[ContextVar[_Wanted | None]] = ContextVar("_WANTED", default=None)
"""What the pass that runs in this thread waits for."""


def _keep_output(module: nn.Module, inputs: object, output: Any) -> None:
    wanted = _WANTED.get()
    if wanted is not None and wanted.module is module:
        wanted.keep(output)


@final
class _StoppedNetwork(nn.Module):
    """A network whose forward pass ends at the last call of a layer.

    Where the number of calls is not known, the first pass counts them and is whole.
    """

    def __init__(self, model: nn.Module, layer: str, n_calls: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.layer = layer
        self._n_calls = _NumberOfCalls(n_calls)
        module = model.get_submodule(split_name(layer)[0])
        if _keep_output not in module._forward_hooks.values():
            module.register_forward_hook(_keep_output)

    def forward(self, images: Tensor) -> Any:
        wanted = _Wanted(self.model.get_submodule(split_name(self.layer)[0]), self.layer, self._n_calls.value)
        token = _WANTED.set(wanted)
        try:
            with contextlib.suppress(_LastCallReached):
                self.model(images)
        finally:
            _WANTED.reset(token)
        if not wanted.outputs:
            raise ValueError(f"Layer {self.layer!r} exists but the model never calls it. Choose another layer.")
        self._n_calls.value = len(wanted.outputs)
        return wanted.outputs.pop()
