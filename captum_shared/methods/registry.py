"""All methods that a user of Captum would pick, by name."""

import difflib
import importlib.util
from collections.abc import Sequence
from typing import Final

from captum_shared.methods.captum import NEURON, SIMILARITY
from captum_shared.methods.method import Method
from captum_shared.methods.ours import OURS
from captum_shared.methods.peers import PEERS
from captum_shared.methods.second_order import SECOND_ORDER
from captum_shared.methods.trivial import TRIVIAL

METHODS: Final[dict[str, Method]] = {
    method.name: method for method in (*OURS, *NEURON, *SIMILARITY, *PEERS, *SECOND_ORDER, *TRIVIAL)
}
"""All methods by name."""

DEFAULT_METHODS: Final = ("recommended", "paper")
"""What people see unless they name others."""

FORMER_NAMES: Final = {"ours-recommended": "recommended", "ours-paper": "paper"}
"""Names in older files, and what they are now."""


def methods_by_name(names: Sequence[str | Method] | None = None) -> list[Method]:
    """Look methods up by name, before any of them runs.

    Args:
        names: names in :data:`METHODS`, and methods of one's own among them; None for all that can run here.

    Returns:
        The methods, in the order given.

    Raises:
        ImportError: if a method's package is not installed.
        ValueError: if a name is unknown (close matches are listed) or given twice.

    Example:
        >>> [method.family for method in methods_by_name(["paper", "neuron-grad-cam"])]
        ['ours', 'neuron']
    """
    if names is None:
        return [method for method in METHODS.values() if _can_run(method)]
    chosen = [name if isinstance(name, Method) else _named(name) for name in names]
    repeated = sorted({method.name for method in chosen if [each.name for each in chosen].count(method.name) > 1})
    if repeated:
        raise ValueError(f"Expected each method once, but got more than once: {', '.join(repeated)}.")
    missing = [f"{method.name} (by {method.package})" for method in chosen if not _can_run(method)]
    if missing:
        raise ImportError(
            f"These methods are run by packages that are not installed: {', '.join(missing)}. Install them with: "
            "pip install 'captum-shared[peers]'."
        )
    return chosen


def _named(name: str) -> Method:
    name = FORMER_NAMES.get(name, name)
    if name not in METHODS:
        close = difflib.get_close_matches(name, METHODS, n=5, cutoff=0.4)
        hint = f"Did you mean {', '.join(close)}?" if close else f"There are: {', '.join(METHODS)}."
        raise ValueError(f"There is no method {name!r}. {hint}")
    return METHODS[name]


def _can_run(method: Method) -> bool:
    return method.package is None or importlib.util.find_spec(method.package) is not None
