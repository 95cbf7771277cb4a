"""Which neurons stand where in a figure, and why some are left out."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from numpy import ndarray

from captum_shared.figures.page import CHARACTERS, FONT, GREY, WIDTH, shortened
from captum_shared.study.result import NeuronResult, StudyResult

_NAMED = 40  # up to so many neurons are named
_ACROSS = 0.75 * WIDTH  # about what the neurons get of the page


def by_region(result: StudyResult) -> dict[str, list[NeuronResult]]:
    """Sort the neurons of every region.

    Args:
        result: a study.

    Returns:
        By region, in the order of the recording: those that take part, the best encoded first, then the excluded.

    Example:
        >>> from pathlib import Path
        >>> nan = float("nan")
        >>> neurons = [NeuronResult(name, "IT", "", "", r, *[nan] * 5) for name, r in (("A", 0.1), ("B", 0.5))]
        >>> study = StudyResult({}, {}, 0, (-0.2, 0.2), (-0.1, 0.1), tuple(neurons), Path("maps.npz"))
        >>> [neuron.name for neuron in by_region(study)["IT"]]
        ['B', 'A']
    """
    groups: dict[str, list[NeuronResult]] = {}
    for neuron in best_encoded(result.neurons):
        groups.setdefault(neuron.region, []).append(neuron)
    return {region: groups[region] for region in dict.fromkeys(neuron.region for neuron in result.neurons)}


def best_encoded(neurons: Sequence[NeuronResult]) -> list[NeuronResult]:
    """Sort neurons by how well they are encoded.

    Args:
        neurons: the neurons.

    Returns:
        Those that take part, by their correlation on held-out images, the highest first and NaN last; then the rest.
    """
    return sorted(
        neurons, key=lambda neuron: (bool(neuron.excluded), -np.nan_to_num(neuron.heldout_correlation, nan=-np.inf))
    )


def named(neuron: NeuronResult) -> str:
    """Name a neuron, with how well it is encoded.

    Args:
        neuron: the neuron.

    Returns:
        Its name, its correlation on held-out images, and whether that is no more than chance.

    Example:
        >>> named(NeuronResult("A", "IT", "", "", 0.614, *[float("nan")] * 5))
        'A, r = 0.61'
        >>> named(NeuronResult("A", "IT", "", "", 0.1, *[float("nan")] * 5, null_interval=(-0.2, 0.2)))
        'A, r = 0.10 (chance)'
    """
    return f"{neuron.name}, r = {neuron.heldout_correlation:.2f}{' (chance)' if neuron.unpredicted else ''}"


def why_none(result: StudyResult) -> str:
    """Say why there is nothing to show of any neuron.

    Args:
        result: a study.

    Returns:
        A sentence.
    """
    unpredicted = sum(neuron.unpredicted for neuron in result.included)
    if unpredicted:
        return (
            f"None of the {len(result.included)} neurons that take part has pairs: {unpredicted} are predicted no "
            "better than by chance."
        )
    if result.included:
        return f"There are no pairs of the {len(result.included)} neurons that take part."
    return f"No neuron takes part. Excluded: {reasons(result.neurons)}."


def reasons(neurons: Sequence[NeuronResult]) -> str:
    """Count why neurons are excluded.

    Args:
        neurons: the neurons.

    Returns:
        Numbers and reasons.

    Example:
        >>> nan = float("nan")
        >>> reasons([NeuronResult(name, "IT", "", "silent", *[nan] * 6) for name in "AB"])
        '2 silent'
    """
    counts = Counter(neuron.excluded for neuron in neurons if neuron.excluded)
    return ", ".join(f"{number} {reason}" for reason, number in counts.most_common()) or "none"


def numbers(neurons: Sequence[NeuronResult], name: str) -> Float64[ndarray, " neuron"]:
    """Collect one measure of several neurons.

    Args:
        neurons: the neurons.
        name: the attribute.

    Returns:
        Its values, in the order of the neurons.
    """
    return np.asarray([getattr(neuron, name) for neuron in neurons], dtype=np.float64)


def preferred(result: StudyResult) -> str:
    """Name the preferred category.

    Args:
        result: a study.

    Returns:
        Its name, shortened if long; empty if it is not among the settings.
    """
    return shortened(str(result.settings.get("preferred", "")), 30)


def slots(groups: Mapping[str, Sequence[NeuronResult]]) -> dict[str, float]:
    """Place neurons side by side, with a gap between regions.

    Args:
        groups: neurons by region.

    Returns:
        Position on the axis by name of the neuron; neighbours are 1 apart.
    """
    gap = _gap(groups)
    positions: dict[str, float] = {}
    for region, neurons in enumerate(groups.values()):
        for neuron in neurons:
            positions[neuron.name] = len(positions) + region * gap
    return positions


def mark_size(result: StudyResult) -> float:
    """Choose how large to draw the marks of a neuron.

    Args:
        result: a study.

    Returns:
        Points: as much as one neuron gets of the page, between what can be seen and what looks well.
    """
    return min(max(_ACROSS * 72 / max(len(result.neurons), 1), 2.5), 5.0)


def label_neurons(axes: Axes, groups: Mapping[str, Sequence[NeuronResult]]) -> None:
    """Name the neurons where there is room, and their regions.

    Args:
        axes: axes with neurons across.
        groups: neurons by region.
    """
    positions = slots(groups)
    if len(positions) <= _NAMED:
        axes.set_xticks(
            list(positions.values()), [shortened(name, 14) for name in positions], rotation=90, fontsize=FONT
        )
        axes.set_xlabel("neuron", fontsize=FONT)
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"{len(positions)} neurons, in each region the best encoded first", fontsize=FONT)
    axes.set_xlim(-1, max(positions.values()) + 1)


def name_regions(axes: Axes, groups: Mapping[str, Sequence[NeuronResult]]) -> None:
    """Write the regions above their neurons, as much of each name as there is room for.

    Args:
        axes: axes with neurons across.
        groups: neurons by region.
    """
    positions = slots(groups)
    room = _ACROSS * CHARACTERS / (max(positions.values()) + 2)
    above = axes.get_xaxis_transform()
    for region, neurons in groups.items():
        first, last = positions[neurons[0].name], positions[neurons[-1].name]
        name = shortened(region, max(int(room * (last - first + 1)), 1))
        axes.text((first + last) / 2, 1.01, name, fontsize=FONT, ha="center", va="bottom", transform=above)
        if region != list(groups)[-1]:
            axes.axvline(last + (_gap(groups) + 1) / 2, color=GREY, linewidth=0.6, linestyle=":")


def draw_left_out(axes: Axes, result: StudyResult, shown: Sequence[NeuronResult]) -> None:
    """Mark the neurons that are left out, at the foot of the axes.

    Args:
        axes: axes with neurons across.
        result: the study.
        shown: the neurons that are not left out.
    """
    positions, names = slots(by_region(result)), {neuron.name for neuron in shown}
    groups = {
        "excluded": ("x", [neuron for neuron in result.neurons if neuron.excluded]),
        "predicted no better than by chance": ("+", [neuron for neuron in result.included if neuron.name not in names]),
    }
    for label, (mark, neurons) in groups.items():
        if neurons:
            left_out, foot = [positions[neuron.name] for neuron in neurons], [0.03] * len(neurons)
            transform = axes.get_xaxis_transform()
            axes.plot(left_out, foot, mark, color=GREY, markersize=3, transform=transform, label=label)


def _gap(groups: Mapping[str, Sequence[NeuronResult]]) -> float:
    return max(1.0, 0.02 * sum(map(len, groups.values())))
