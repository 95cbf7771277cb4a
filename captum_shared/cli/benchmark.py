"""``captum-shared benchmark``: methods on pairs of which it is known what they share."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer

from captum_shared._files import write_atomically
from captum_shared._resuming import versions
from captum_shared.cli.app import app, available, told
from captum_shared.encoders.by_name import EMBEDDED, encoder_by_name
from captum_shared.encoders.features import LatentFeatures
from captum_shared.evaluation.run import PACKAGES, RESULT, Extent, run_benchmark, table
from captum_shared.evaluation.tasks.ceiling import CEILING
from captum_shared.evaluation.tasks.design import Task
from captum_shared.evaluation.tasks.grid import Half, grid_task
from captum_shared.evaluation.tasks.parts import parts_task
from captum_shared.evaluation.tasks.preferences import DEFAULT_METHODS, category_neurons
from captum_shared.figures import benchmark_figure, preferences_figure, save_figure
from captum_shared.methods.method import Method
from captum_shared.methods.registry import methods_by_name

FAITHFUL = ("deletion", "insertion", "infidelity")
SANITY = ("network_randomised", "readout_replaced", "reference_swapped")
MORE = ("pointing", "intensity", *FAITHFUL, *SANITY)
SHOWN = ("answer_largest", "mass", "answer_vs_own_driver", "answer_vs_shared_nondriver", "answer_vs_neither")
ONLY = {  # options that not every task has, and the tasks that have them
    **dict.fromkeys(("images", "model", "weights", "layer"), ("grid", "neurons")),
    **dict.fromkeys(("pairs", "controls", "faithful", "sanity", "resume"), ("parts", "grid")),
    "half": ("grid",),
}


@app.command()
@told
def benchmark(
    task: Annotated[
        Literal["parts", "grid", "neurons"],
        typer.Argument(help="Drawn parts, grids of photographs, or six category neurons."),
    ],
    output: Annotated[Path, typer.Option(help="Folder for results.json, the table and the figure.")],
    names: Annotated[
        list[str] | None, typer.Option("--methods", help="Names, with commas between or given again; all by default.")
    ] = None,
    pairs: Annotated[int | None, typer.Option(help="How many pairs; 200 by default.")] = None,
    controls: Annotated[
        int | None, typer.Option(help="Of these, how many for the score of intensity; 64 by default.")
    ] = None,
    faithful: Annotated[
        int | None, typer.Option(help="Of these, how many for deletion, insertion and infidelity; none by default.")
    ] = None,
    sanity: Annotated[
        int | None, typer.Option(help="Of these, how many for the sanity checks; none by default.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="Folder of photographs, a folder a category.")] = None,
    model: Annotated[str | None, typer.Option(help="A model of torchvision, or 'embedded'.")] = None,
    weights: Annotated[str | None, typer.Option(help="DEFAULT, another entry of torchvision, or a file.")] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Where to cut the network, features by default; of several the best predicting."),
    ] = None,
    half: Annotated[
        Half | None, typer.Option(help="Whose categories drive the neurons of 'grid'; report by default.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of neurons, responses and pairs.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps ...")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the benchmark in the output folder.")] = False,
) -> None:
    """Score methods on pairs of images of which it is known what they share."""
    _check(task, locals())
    _check_folder(output, resume=resume)
    chosen = [name for given in names or [] for name in given.split(",") if name] or None
    n_pairs = 200 if pairs is None else pairs
    some = (64 if controls is None else controls, faithful or 0, sanity or 0)
    extent = Extent(n_pairs, *(min(each, n_pairs) for each in some))
    place = available(device)
    if task == "parts":
        found = [*methods_by_name(chosen), CEILING]
        _run(parts_task(seed=seed, progress=True), found, extent, output, resume, place)
        return
    if images is None or model is None:
        raise ValueError(f"The task {task!r} needs a folder of photographs and a network: --images and --model.")
    encoders = _encoders(model, weights, layer or ["features"])
    if task == "neurons":
        _neurons(encoders, images, chosen, {"model": model, "seed": seed}, output, place)
        return
    found = [*methods_by_name(chosen), CEILING]
    made = grid_task(images, [each.to(place) for each in encoders], half=half or "report", seed=seed, progress=True)
    _run(replace(made, settings={**made.settings, "model": model}), found, extent, output, resume, place)


def _check(task: str, given: Mapping[str, Any]) -> None:
    """Refuse options that the task does not have."""
    for option, tasks in ONLY.items():
        if task not in tasks and given[option] not in (None, False):
            raise ValueError(f"The task {task!r} has no --{option}, which is for {' and '.join(tasks)}: leave it out.")


def _check_folder(output: Path, *, resume: bool) -> None:
    """Refuse a folder that holds something, before anything is computed."""
    if not resume and output.exists() and (output.is_file() or any(output.iterdir())):
        raise ValueError(
            f"Expected a new or empty folder, but {output} holds something already: choose another, or go on with a "
            "benchmark by --resume."
        )


def _encoders(model: str, weights: str | None, layers: list[str]) -> list[LatentFeatures]:
    """The network of the command line, cut at each of the layers."""
    if weights is None and model != EMBEDDED:
        raise ValueError(f"Name the weights of {model}: --weights DEFAULT for those of torchvision, or a file.")
    return [encoder_by_name(model, layer, weights=weights) for layer in layers]


def _run(task: Task, chosen: list[Method], extent: Extent, output: Path, resume: bool, device: torch.device) -> None:
    task.similarity.to(device).to(memory_format=torch.channels_last)
    result = run_benchmark(task, chosen, extent=extent, output=output, resume=resume)
    written = table(result, [score for score in SHOWN + MORE if score in result["methods"][0]["scores"]])
    with write_atomically(output / "table.md") as path:
        path.write_text(written + "\n", encoding="utf-8")
    save_figure(benchmark_figure(result), output / "figure.png")
    typer.echo(f"{written}\n\nWrote results.json, table.md and figure.png to {output}.")


def _neurons(
    encoders: list[LatentFeatures],
    images: Path,
    chosen: list[str] | None,
    settings: dict[str, Any],
    output: Path,
    device: torch.device,
) -> None:
    features, *more = encoders
    if more:
        raise ValueError(f"The task 'neurons' cuts the network at one layer, but got {len(encoders)}: name one.")
    settings = {**settings, "layer": features.layer, "methods": chosen or list(DEFAULT_METHODS)}
    neurons = category_neurons(
        features.to(device), images, names=settings["methods"], seed=settings["seed"], progress=True
    )
    entries = [neuron.as_dict() for neuron in neurons]
    result = {"task": "neurons", "settings": settings, "versions": versions(*PACKAGES), "neurons": entries}
    save_figure(preferences_figure(neurons), output / "figure.png")
    with write_atomically(output / RESULT) as path:
        path.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    typer.echo(f"Wrote results.json and figure.png to {output}.")
