"""Where on a page each neuron is."""

from collections.abc import Sequence

from captum_shared._files import file_names
from captum_shared.study.result import NeuronResult


def addresses(neurons: Sequence[NeuronResult]) -> dict[str, str]:
    """Name the section of every neuron, so that one can point to it from anywhere: ``report.html#neuron-IT_3``.

    Args:
        neurons: all neurons of a study.

    Returns:
        By name of the neuron an identifier of letters, digits, ``_`` and ``-``; each differs from all others.

    Example:
        >>> nan = float("nan")
        >>> addresses([NeuronResult(name, "IT", "", "", *[nan] * 6) for name in ("a/b", "C")])
        {'a/b': 'neuron-a_b', 'C': 'neuron-C'}
    """
    names = list(dict.fromkeys(neuron.name for neuron in neurons))
    return {name: f"neuron-{slug}" for name, slug in zip(names, file_names(names), strict=True)}
