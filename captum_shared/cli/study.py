"""``captum-shared study`` and ``simulate``: a recording, and the figures of the paper for it."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from captum_shared.cli.app import app, available, told
from captum_shared.encoders.by_name import EMBEDDED, encoder_by_name
from captum_shared.encoders.pooling import Pool
from captum_shared.figures.study import FigureFormat, write_figures
from captum_shared.recordings.formats.table import EXTENSIONS
from captum_shared.recordings.recording import Recording
from captum_shared.study.result import StudyResult
from captum_shared.study.run import run_study
from captum_shared.study.settings import StudySettings
from captum_shared.synthetic.recording import RECORDING_FORMATS, simulate_recording


@app.command()
@told
def study(
    recording: Annotated[Path, typer.Argument(help=f"Responses, in a file {', '.join(EXTENSIONS)}.")],
    images: Annotated[Path, typer.Option(help="Folder of the images.")],
    preferred: Annotated[str, typer.Option(help="The preferred category; all others are out of category.")],
    model: Annotated[list[str], typer.Option(help="A model of torchvision, or 'embedded'; again to compare models.")],
    output: Annotated[Path, typer.Option(help="Folder for study.json, maps.npz, the readouts and the figures.")],
    layer: Annotated[list[str], typer.Option(help="Where to cut the network; one for all models or one each.")],
    weights: Annotated[
        list[str] | None,
        typer.Option(help="DEFAULT, another entry of torchvision, or a file; one a model but embedded."),
    ] = None,
    pool: Annotated[Pool, typer.Option(help="How positions are summarised.")] = "average",
    stimuli: Annotated[Path | None, typer.Option(help="CSV of stimulus_id, filename, category.")] = None,
    window: Annotated[tuple[float, float], typer.Option(help="Seconds after onset to count spikes in (NWB).")] = (
        0.05,
        0.25,
    ),
    strong: Annotated[int, typer.Option(help="Strongest objects to explain for each neuron.")] = 2,
    dissimilar: Annotated[int, typer.Option(help="Strong objects without a similar reference.")] = 1,
    weak: Annotated[int, typer.Option(help="Weakest objects.")] = 1,
    driver_fraction: Annotated[float, typer.Option(help="Share of the images that count as drivers.")] = 0.25,
    center: Annotated[bool, typer.Option("--center", help="Centre the features (the paper does not).")] = False,
    folds: Annotated[int, typer.Option(help="Of the cross-validation.")] = 10,
    steps: Annotated[int, typer.Option(help="Of Integrated Gradients.")] = 24,
    seed: Annotated[int, typer.Option(help="Of the folds.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps ...")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study in the output folder.")] = False,
    figures: Annotated[FigureFormat, typer.Option(help="Format of the figures.")] = "png",
) -> None:
    """Explain a recording: which objects drive each neuron, what they resemble for it, and where."""
    settings = StudySettings(
        preferred, strong, dissimilar, weak, driver_fraction, center=center, folds=folds, n_steps=steps, seed=seed
    )
    encoders = _encoders(model, weights or [], layer)
    loaded = Recording.load(recording, images=images, stimuli=stimuli, window=window)
    results: list[StudyResult] = []
    for place, (name, file, cut) in enumerate(encoders):
        features = encoder_by_name(name, cut, weights=file, pool=pool)
        folder = output / f"{name}-{cut}" if place else output
        results.append(
            run_study(
                loaded,
                features.to(available(device)),
                settings,
                output=folder,
                model=name,
                resume=resume,
                pairs_of=results[0] if place else None,
            )
        )
    names = [f"{name}, {cut}" for name, _, cut in encoders]
    _print_summary(results, names)
    written = write_figures(results, names, output / "figures", figure_format=figures)
    typer.echo(f"Wrote study.json, maps.npz, readout.safetensors and {len(written)} figures to {output}.")


@app.command()
@told
def simulate(
    output: Annotated[Path, typer.Option(help="Folder for the images, the recording and the truth.")],
    file_format: Annotated[
        str,
        typer.Option("--format", metavar="|".join(RECORDING_FORMATS), help="Format of the recording."),
    ] = "nc",
    neurons: Annotated[int, typer.Option(min=1, help="How many neurons, in two regions.")] = 96,
    creatures: Annotated[int, typer.Option(min=1, help="How many images of the preferred category.")] = 400,
    artefacts: Annotated[int, typer.Option(min=1, help="How many other images.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the images and the recording.")] = 0,
) -> None:
    """Simulate a recording in a drawn world, to try everything without data of one's own."""
    path = simulate_recording(
        output,
        format=file_format,
        n_neurons=neurons,
        n_creatures=creatures,
        n_artefacts=artefacts,
        seed=seed,
        progress=True,
    )
    typer.echo(
        f"Wrote {path}. Next: captum-shared study {path} --images {output / 'images'} --preferred creature "
        f"--model embedded --layer features --output {output / 'study'}"
    )


def _encoders(
    models: Sequence[str], weights: Sequence[str], layers: Sequence[str]
) -> list[tuple[str, str | None, str]]:
    """Model, weights and layer of each encoder."""
    if len(layers) not in (1, len(models)):
        raise ValueError(f"Expected one --layer, or one for each of the {len(models)} models, got {len(layers)}.")
    trained = [model for model in models if model != EMBEDDED]
    if len(weights) != len(trained):
        raise ValueError(
            f"Expected --weights for each model but {EMBEDDED!r} ({', '.join(trained) or 'here none'}), got "
            f"{len(weights)}: give DEFAULT for those of torchvision, or a file."
        )
    files = iter(weights)
    cuts = list(layers) * (len(models) if len(layers) == 1 else 1)
    found = [(model, None if model == EMBEDDED else next(files), cut) for model, cut in zip(models, cuts, strict=True)]
    if len({(model, cut) for model, _, cut in found}) < len(found):
        raise ValueError("Expected models that differ in name or layer, got one twice: leave one out.")
    return found


def _print_summary(results: Sequence[StudyResult], names: Sequence[str]) -> None:
    for result, name in zip(results, names, strict=True):
        low, high = result.null_interval
        typer.echo(
            f"\n{name}: {len(result.included)} of {len(result.neurons)} neurons, null interval {low:.2f} {high:.2f}"
        )
        for neuron in result.neurons:
            if neuron.excluded:
                typer.echo(f"left out: {neuron.name}, {neuron.excluded}")
        for label in ("heldout_correlation", "ooc_correlation", "reliability", "ooc_reliability"):
            values = [value for neuron in result.included if (value := getattr(neuron, label)) == value]
            mean = f"{statistics.fmean(values):.2f} (n = {len(values)})" if values else "not measured"
            typer.echo(f"mean {label.replace('_', ' ')}: {mean}")
