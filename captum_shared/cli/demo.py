"""``captum-shared demo``: six synthetic neurons."""

import math
import statistics
from pathlib import Path
from typing import Annotated

import typer

from captum_shared.cli.app import app, told
from captum_shared.cli.demo_run import DemoNeuron, run_demo


@app.command()
@told
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the figures and demo.json.")] = Path("captum-shared-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the images and the recording.")] = 0,
) -> None:
    """Explain six synthetic neurons, in a world where the answer is known."""
    neurons = run_demo(output, seed=seed)
    typer.echo("\ncorrelation of predicted and recorded responses, and the pair explained")
    typer.echo(f"{'neuron':<12}{'held out':>10}{'artefacts':>11}{'similarity':>12}  shared parts")
    for found in neurons:
        shared = ", ".join(found.shared_parts) or "none"
        numbers = f"{found.heldout_correlation:>10.2f}{found.ooc_correlation:>11.2f}{found.similarity:>12.2f}"
        typer.echo(f"{found.name:<12}{numbers}  {shared}")
    _print_masses(neurons)
    typer.echo(f"\nWrote {len(neurons)} figures and demo.json to {output}.")


def _print_masses(neurons: list[DemoNeuron]) -> None:
    known = [found for found in neurons if found.shared_parts]
    if not known:
        typer.echo("\nNo pair shares a part that drives its neuron, so there is nothing to compare maps with.")
        return
    typer.echo("\nshare of the map that falls on the shared parts, mean of the neurons (the parts' area is chance)")
    typer.echo(f"{'area':<32}{statistics.fmean(found.area_of_shared_part for found in known):.2f}")
    for method in known[0].mass_in_shared_part:
        masses = [mass for found in known if (mass := found.mass_in_shared_part[method]) is not None]
        typer.echo(f"{method:<32}{statistics.fmean(masses) if masses else math.nan:.2f}")
