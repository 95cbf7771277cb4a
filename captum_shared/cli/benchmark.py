"""``captum-shared benchmark``: methods on pairs of which it is known what they share."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from captum_shared._files import check_place, digest_of
from captum_shared._record import keep
from captum_shared.cli.app import app, listed, told
from captum_shared.cli.asked import asked_for, holds_what_is_asked_for, remember
from captum_shared.cli.choices import Features, Half, MaxPixels

Output: TypeAlias = Annotated[Path, typer.Option(help="Folder for results.json, the table and the figure.")]
Names: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--method", help="Name of a method, again or with commas for more; all of them by default."),
]
Pairs: TypeAlias = Annotated[int, typer.Option(min=1, help="Number of pairs.")]
Controls: TypeAlias = Annotated[int, typer.Option(min=0, help="Number of these pairs for the score of intensity.")]
Faithful: TypeAlias = Annotated[
    int, typer.Option(min=0, help="Number of these pairs for deletion, insertion and infidelity.")
]
Sanity: TypeAlias = Annotated[int, typer.Option(min=0, help="Number of these pairs for the sanity checks.")]
Images: TypeAlias = Annotated[Path, typer.Option(help="Folder of photographs, with a subfolder for each category.")]
Model: TypeAlias = Annotated[str, typer.Option(help="Model of torchvision, timm:NAME, hf:NAME, or 'embedded'.")]
Weights: TypeAlias = Annotated[
    str | None, typer.Option(help="DEFAULT, another weights entry of torchvision, a file or a folder.")
]
Seed: TypeAlias = Annotated[int, typer.Option(min=0, help="Seed of the neurons, their responses and the pairs.")]
Device: TypeAlias = Annotated[str, typer.Option(help="Device to run the network on: cpu, cuda, mps ...")]
WithoutNeurons: TypeAlias = Annotated[
    bool, typer.Option("--without-neurons", help="Plain embedding similarity: what two images share, for nobody.")
]
Resume: TypeAlias = Annotated[bool, typer.Option("--resume", help="Go on with the benchmark in the output folder.")]
NoReport: TypeAlias = Annotated[
    bool, typer.Option("--no-report", help="Leave out report.html, the page with the table and the maps.")
]

CONTROLS: Final = 64
benchmark = typer.Typer(no_args_is_help=True)
app.add_typer(
    benchmark, name="benchmark", help="Score methods on pairs of images of which it is known what they share."
)


@benchmark.command(epilog="Example: captum-shared benchmark parts --output parts")
@told
def parts(
    output: Output,
    names: Names = None,
    pairs: Pairs = 200,
    controls: Controls = CONTROLS,
    faithful: Faithful = 0,
    sanity: Sanity = 0,
    without_neurons: WithoutNeurons = False,
    seed: Seed = 0,
    device: Device = "cpu",
    resume: Resume = False,
    no_report: NoReport = False,
) -> None:
    """Score methods on drawn images whose parts drive simulated neurons."""
    asked = asked_for(locals())
    if resume and _told_again(output, asked):
        return
    from captum_shared.cli.networks import available
    from captum_shared.cli.scored import extent_of, methods_compared, run_and_save
    from captum_shared.evaluation import parts_task

    extent = extent_of(pairs, controls, faithful, sanity)
    _check_folder(output, resume=resume)
    compared, chosen_device = methods_compared(listed(names)), available(device)
    task = parts_task(n_neurons=0 if without_neurons else 48, seed=seed, progress=True)
    run_and_save(task, compared, extent, output=output, resume=resume, device=chosen_device, report=not no_report)
    remember(output, asked, ["."])


@benchmark.command(
    epilog="Example, with a folder of photographs of two or more categories: "
    "captum-shared benchmark grid --images photographs --model embedded --output grid"
)
@told
def grid(
    output: Output,
    images: Images,
    model: Model,
    weights: Weights = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Where to cut the network, by default last with positions; of several the best predicting."),
    ] = None,
    features: Features = None,
    half: Annotated[Half, typer.Option(help="Half of the categories that drives the neurons.")] = "report",
    names: Names = None,
    pairs: Pairs = 200,
    controls: Controls = CONTROLS,
    faithful: Faithful = 0,
    sanity: Sanity = 0,
    without_neurons: WithoutNeurons = False,
    seed: Seed = 0,
    max_pixels: MaxPixels = None,
    device: Device = "cpu",
    resume: Resume = False,
    no_report: NoReport = False,
) -> None:
    """Score methods on grids of four photographs, whose categories drive simulated neurons."""
    asked = asked_for(locals())
    if resume and _told_again(output, asked):
        return
    from captum_shared.cli.networks import available, encoder
    from captum_shared.cli.scored import extent_of, methods_compared, run_and_save
    from captum_shared.encoders import FeatureStore
    from captum_shared.evaluation import grid_task

    extent = extent_of(pairs, controls, faithful, sanity)
    _check_folder(output, resume=resume)
    compared, chosen_device = methods_compared(listed(names)), available(device)
    cuts: list[str | None] = list(layer) if layer else [None]
    encoders = [encoder(model, name, weights).to(chosen_device) for name in cuts]
    n_neurons = 0 if without_neurons else 12
    store = None if features is None else FeatureStore.open(features)
    task = grid_task(images, encoders, half=half, n_neurons=n_neurons, seed=seed, store=store, progress=True)
    named = replace(task, settings={**task.settings, "model": model})
    run_and_save(named, compared, extent, output=output, resume=resume, device=chosen_device, report=not no_report)
    remember(output, asked, ["."])


@benchmark.command(
    epilog="Example, with a folder of photographs of two or more categories: "
    "captum-shared benchmark neurons --images photographs --model embedded --output neurons"
)
@told
def neurons(
    output: Annotated[Path, typer.Option(help="Folder for results.json and the figure.")],
    images: Images,
    model: Model,
    weights: Weights = None,
    layer: Annotated[
        str | None, typer.Option(help="Where to cut the network, by default the last layer with positions.")
    ] = None,
    features: Features = None,
    names: Names = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the neurons and their responses.")] = 0,
    max_pixels: MaxPixels = None,
    device: Device = "cpu",
    resume: Resume = False,
    no_report: NoReport = False,
) -> None:
    """Show what drives six simulated neurons, each of which prefers a category of photographs."""
    from captum_shared.cli.networks import available, encoder
    from captum_shared.cli.scored import save_report
    from captum_shared.encoders import FeatureStore
    from captum_shared.evaluation import run_category_neurons
    from captum_shared.evaluation.tasks.preferences import DEFAULT_METHODS
    from captum_shared.figures import preferences_figure, save_figure

    _check_folder(output, resume=resume)
    chosen = listed(names) or list(DEFAULT_METHODS)
    explained = run_category_neurons(
        encoder(model, layer, weights).to(available(device)),
        images,
        names=chosen,
        seed=seed,
        settings={"model": model},
        output=output,
        store=None if features is None else FeatureStore.open(features),
        resume=resume,
    )
    figure = {"figure.png": lambda path: save_figure(preferences_figure(explained), path)}
    keep(output, figure, of=digest_of(output / "results.json"))
    typer.echo(f"Wrote results.json and figure.png to {output}.")
    if not no_report:
        save_report(output)


def _told_again(output: Path, asked: dict[str, Any]) -> bool:
    """Print the table of a benchmark that is finished and whole, if that is all that is asked for."""
    if not holds_what_is_asked_for(output, asked):
        return False
    table = (output / "table.md").read_text(encoding="utf-8")
    typer.echo(f"{table}\n{output} holds this benchmark already, and all of its files are whole.")
    return True


def _check_folder(output: Path, *, resume: bool) -> None:
    """Refuse a folder that holds something, or cannot be made, before anything is computed."""
    check_place(output)
    if not resume and output.exists() and (output.is_file() or any(output.iterdir())):
        raise ValueError(
            f"Expected a new or empty folder, but {output} holds something already: choose another, or go on with a "
            "benchmark by --resume."
        )
