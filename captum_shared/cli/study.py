"""``captum-shared study`` and ``simulate``: a recording, and the figures of the paper for it."""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from captum_shared._files import check_place, file_names
from captum_shared._record import Record
from captum_shared.cli.app import app, told
from captum_shared.cli.asked import asked_for, holds_what_is_asked_for, remember
from captum_shared.cli.choices import Address, EngineName, FigureFormat, MaxPixels, Pool, SkipBad, Workers
from captum_shared.recordings.formats.table import EXTENSIONS, WRITTEN
from captum_shared.study.result import StudyResult

_AUTO = "auto"


@app.command(
    epilog="Example, after captum-shared simulate --output world: captum-shared study world/recording.nc --images "
    "world/images --preferred creature --model embedded --layer features --output study"
)
@told
def study(
    recording: Annotated[Path, typer.Argument(help=f"File of responses: {', '.join(EXTENSIONS)}.")],
    images: Annotated[Path, typer.Option(help="Folder with the images.")],
    preferred: Annotated[str, typer.Option(help="Preferred category; all others are out of category.")],
    model: Annotated[list[str], typer.Option(help="Model of torchvision, or 'embedded'; repeat it to compare models.")],
    output: Annotated[Path, typer.Option(help="Folder for study.json, maps.npz, the readouts and the figures.")],
    layer: Annotated[
        list[str],
        typer.Option(
            help="Layer to cut the network at; one for all models, or one for each. With 'auto' several depths are "
            "tried, and the one that predicts held-out images of the preferred category best is taken."
        ),
    ],
    weights: Annotated[
        list[str] | None,
        typer.Option(help="DEFAULT, another weights entry of torchvision, or a file; for each model but embedded."),
    ] = None,
    pool: Annotated[Pool, typer.Option(help="How the positions of the layer are summarised.")] = "average",
    stimuli: Annotated[
        Path | None, typer.Option(help="CSV file with the columns stimulus_id, filename and category.")
    ] = None,
    by_row: Annotated[
        bool, typer.Option("--by-row", help="Match rows without identifiers to the rows of the CSV file, in order.")
    ] = False,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out images whose file is missing.")
    ] = False,
    allow_outside: Annotated[
        bool,
        typer.Option("--allow-outside", help="Read images outside of the folder, where file names lead out of it."),
    ] = False,
    follow_links: Annotated[
        bool, typer.Option("--follow-links", help="Let an HDF5-based recording take its data from other files.")
    ] = False,
    features: Annotated[
        list[Path] | None,
        typer.Option(
            help="Store of captum-shared features to take the features of all images from; one for each model."
        ),
    ] = None,
    skip_bad: SkipBad = False,
    max_pixels: MaxPixels = None,
    window: Annotated[
        tuple[float, float], typer.Option(help="Seconds after onset in which spikes are counted (NWB only).")
    ] = (
        0.05,
        0.25,
    ),
    strong: Annotated[int, typer.Option(help="Number of strongest objects to explain for each neuron.")] = 2,
    dissimilar: Annotated[int, typer.Option(help="Number of strong objects that resemble no reference.")] = 1,
    weak: Annotated[int, typer.Option(help="Number of weakest objects to explain.")] = 1,
    driver_fraction: Annotated[float, typer.Option(help="Share of images that count as drivers of a neuron.")] = 0.25,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Method that makes maps, as of captum-shared methods; repeat it for more. "
            "recommended and paper by default."
        ),
    ] = None,
    all_neurons: Annotated[
        bool, typer.Option("--all-neurons", help="Explain neurons, too, that are predicted no better than by chance.")
    ] = False,
    behaviour: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of a behavioural measure, with the columns stimulus_id and value, and maybe reference and "
            "trial: how it goes with predicted responses and maps is tested."
        ),
    ] = None,
    show: Annotated[
        str | None, typer.Option(help="Method whose maps the figures show; by default the recommended one.")
    ] = None,
    folds: Annotated[int, typer.Option(help="Number of folds of the cross-validation.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed of the folds.")] = 0,
    device: Annotated[str, typer.Option(help="Device to compute on, such as cpu, cuda or mps.")] = "cpu",
    engine: EngineName = "local",
    address: Address = None,
    workers: Workers = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study in the output folder.")] = False,
    figures: Annotated[FigureFormat, typer.Option(help="Format of the figures.")] = "png",
) -> None:
    """Explain a recording: which objects drive each neuron, what they resemble for it, and where."""
    asked = asked_for(locals())
    check_place(output)
    if resume and not follow_links and _told_again(output, asked):  # what links lead to may have changed
        return
    from captum_shared._engine import engine_by_name
    from captum_shared.cli.networks import available
    from captum_shared.encoders.by_name import encoder_by_name, layers_by_name
    from captum_shared.encoders.features import LatentFeatures
    from captum_shared.encoders.layers import LayerFeatures
    from captum_shared.encoders.store import FeatureStore
    from captum_shared.figures.study import write_figures
    from captum_shared.methods.registry import DEFAULT_METHODS
    from captum_shared.recordings.recording import Recording
    from captum_shared.study.behaviour import BehaviourTable
    from captum_shared.study.run import run_study
    from captum_shared.study.settings import StudySettings

    settings = StudySettings(
        preferred,
        strong,
        dissimilar,
        weak,
        driver_fraction,
        methods=method or DEFAULT_METHODS,
        all_neurons=all_neurons,
        folds=folds,
        seed=seed,
    )
    _check_shown(show, settings.methods)
    encoders = _encoders(model, weights or [], layer)
    if features and len(features) != len(model):
        raise ValueError(f"Expected --features for each of the {len(model)} models, or for none, got {len(features)}.")
    stores = [FeatureStore.open(path) for path in features] if features else [None] * len(model)
    loaded = Recording.load(
        recording,
        images=images,
        stimuli=stimuli,
        window=window,
        follow_links=follow_links,
        by_row=by_row,
        skip_missing=skip_missing,
        allow_outside=allow_outside,
    )
    measure = None if behaviour is None else BehaviourTable.read(behaviour, loaded.stimulus_ids)
    folders = file_names([f"{name}-{cut}" for name, _, cut in encoders], kept="-.")
    results: list[StudyResult] = []
    with engine_by_name(engine, address=address, workers=workers, gpus=device.startswith("cuda")) as ready:
        for name, file, cut in encoders:
            if cut == _AUTO:
                encoder: LatentFeatures | LayerFeatures = layers_by_name(name, weights=file, pool=pool)
            else:
                encoder = encoder_by_name(name, cut, weights=file, pool=pool)
            folder = output / folders[len(results)] if results else output
            results.append(
                run_study(
                    loaded,
                    encoder.to(available(device)),
                    settings,
                    output=folder,
                    model=name,
                    resume=resume,
                    pairs_of=results[0] if results else None,
                    store=stores[len(results)],
                    skip_bad=skip_bad,
                    engine=ready,
                    behaviour=measure,
                )
            )
    names = [_name(result) for result in results]
    _print_summary(results, names)
    written = write_figures(results, names, output / "figures", method=show, figure_format=figures)
    made = [str(result.map_file.parent.relative_to(output)) for result in results]
    remember(output, asked, [*made, "figures"])
    typer.echo(f"Wrote study.json, maps.npz, readout.safetensors and {len(written)} figures to {output}.")


@app.command(epilog="Example: captum-shared simulate --output world")
@told
def simulate(
    output: Annotated[Path, typer.Option(help="Folder for the images, the recording and the truth.")],
    file_format: Annotated[
        str,
        typer.Option("--format", metavar="|".join(WRITTEN), help="Format of the recording."),
    ] = "nc",
    neurons: Annotated[int, typer.Option(min=1, help="Number of neurons, in two regions.")] = 96,
    creatures: Annotated[int, typer.Option(min=1, help="Number of images of the preferred category.")] = 400,
    artefacts: Annotated[int, typer.Option(min=1, help="Number of other images.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the images and the recording.")] = 0,
) -> None:
    """Simulate a recording in a drawn world, to try everything without data of one's own."""
    from captum_shared.synthetic.recording import simulate_recording

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


def _told_again(output: Path, asked: dict[str, Any]) -> bool:
    """Print the summary of a study that is finished and whole, if that is all that is asked for."""
    record = Record(output)
    if not holds_what_is_asked_for(output, asked):
        return False
    results = [StudyResult.load(output / folder) for folder in record.asked["folders"][:-1]]
    _print_summary(results, [_name(result) for result in results])
    typer.echo(f"{output} holds this study and its figures already, and all of them are whole.")
    return True


def _name(result: StudyResult) -> str:
    return f"{result.settings['model']}, {result.layer}"


def _encoders(
    models: Sequence[str], weights: Sequence[str], layers: Sequence[str]
) -> list[tuple[str, str | None, str]]:
    """Model, weights and layer of each encoder."""
    from captum_shared.encoders.by_name import EMBEDDED

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
    encoders = [
        (model, None if model == EMBEDDED else next(files), cut) for model, cut in zip(models, cuts, strict=True)
    ]
    if len({(model, cut) for model, _, cut in encoders}) < len(encoders):
        raise ValueError("Expected models that differ in name or layer, got one twice: leave one out.")
    return encoders


def _check_shown(show: str | None, methods: Sequence[str]) -> None:
    """Refuse to show what the study will not make, before it is made."""
    if show is not None and show not in methods:
        raise ValueError(
            f"Expected --show to name a method of the study ({', '.join(methods)}), got {show!r}: add it by --method."
        )


def _print_summary(results: Sequence[StudyResult], names: Sequence[str]) -> None:
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
