"""What ``captum-shared study`` prints of a study: known without what is slow to import."""

import statistics
from collections.abc import Sequence

import typer

from captum_shared.study.result import StudyResult


def name_of(result: StudyResult) -> str:
    """Name a study by its network and layer.

    Args:
        result: the study.

    Returns:
        The name.
    """
    return f"{result.settings['model']}, {result.layer}"


def print_summary(results: Sequence[StudyResult], names: Sequence[str]) -> None:
    """Print what came of a study.

    Args:
        results: of one network or several.
        names: of each.
    """
    for result, name in zip(results, names, strict=True):
        low, high = result.null_interval
        typer.echo(
            f"\n{name}: {len(result.included)} of {len(result.neurons)} neurons, {len(result.explained)} explained, "
            f"null interval {low:.2f} {high:.2f}"
        )
        for layer, correlation in result.layers.items():
            typer.echo(f"layer {layer}: {correlation:.3f} on held-out images{', taken' * (layer == result.layer)}")
        for neuron in result.neurons:
            if neuron.excluded:
                typer.echo(f"left out: {neuron.name}, {neuron.excluded}")
            elif neuron.unpredicted:
                told = "" if neuron.pairs else "not explained: "
                typer.echo(f"{told}{neuron.name}, r = {neuron.heldout_correlation:.2f}, no better than chance")
        for label in ("heldout_correlation", "ooc_correlation", "reliability", "ooc_reliability"):
            values = [value for neuron in result.included if (value := getattr(neuron, label)) == value]
            mean = f"{statistics.fmean(values):.2f} (n = {len(values)})" if values else "not measured"
            typer.echo(f"mean {label.replace('_', ' ')}: {mean}")
        for compared in result.compared:
            typer.echo(f"{compared.by}s: {compared.told}")
        for line in result.behaviour.told if result.behaviour else ():
            typer.echo(f"behaviour: {line}")
