"""``captum-shared benchmark``: methods on pairs of which it is known what they share."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import typer

from captum_shared.cli.app import app, available, told
from captum_shared.evaluation.baselines import Method, methods
from captum_shared.evaluation.benchmark import RESULT, Extent, run_benchmark, table, versions
from captum_shared.evaluation.ceiling import cells_alone
from captum_shared.evaluation.design import Task
from captum_shared.evaluation.grid_task import Half, grid_task
from captum_shared.evaluation.parts_task import parts_task
from captum_shared.evaluation.preferences import DEFAULT_METHODS, category_neurons
from captum_shared.explain import EMBEDDED, encoder
from captum_shared.features import LatentFeatures
from captum_shared.figures import benchmark_figure, preferences_figure, save_figure
from captum_shared.files import write_atomically
from captum_shared.pooling import Pool

CEILING = Method("ceiling", "ceiling", cells_alone)
MORE = ("pointing", "intensity", "deletion", "insertion", "network_randomised", "readout_replaced", "reference_swapped")
SHOWN = ("answer_largest", "mass", "answer_vs_own_driver", "answer_vs_shared_nondriver", "answer_vs_neither")


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
    pairs: Annotated[int, typer.Option(help="How many pairs.")] = 200,
    controls: Annotated[int, typer.Option(help="Of these, how many for the score of intensity.")] = 100,
    faithful: Annotated[int, typer.Option(help="Of these, how many for deletion and insertion.")] = 0,
    sanity: Annotated[int, typer.Option(help="Of these, how many for the sanity checks.")] = 0,
    images: Annotated[Path | None, typer.Option(help="Folder of photographs, a folder a category.")] = None,
    model: Annotated[str | None, typer.Option(help="A model of torchvision, or 'embedded'.")] = None,
    weights: Annotated[str | None, typer.Option(help="DEFAULT, another entry of torchvision, or a file.")] = None,
    layer: Annotated[str, typer.Option(help="Where to cut the network.")] = "features",
    pool: Annotated[Pool, typer.Option(help="How positions are summarised.")] = "average",
    half: Annotated[Half, typer.Option(help="Whose categories drive the neurons of 'grid'.")] = "report",
    seed: Annotated[int, typer.Option(min=0, help="Of neurons, responses and pairs.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps ...")] = "cpu",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the benchmark in the output folder.")] = False,
) -> None:
    """Score methods on pairs of images of which it is known what they share."""
    chosen = [name for given in names or [] for name in given.split(",") if name] or None
    extent = Extent(pairs, min(controls, pairs), min(faithful, pairs), min(sanity, pairs))
    if task == "parts":
        if images or model or weights:
            raise ValueError("The task 'parts' has images and a network of its own: leave out --images and --model.")
        found = [*methods(chosen), CEILING]
        place = available(device)
        made = parts_task(seed=seed, progress=True)
        made.similarity.to(place)
        _run(made, found, extent, output, resume)
        return
    if images is None or model is None:
        raise ValueError(f"The task {task!r} needs a folder of photographs and a network: --images and --model.")
    features = _features(model, weights, layer, pool).to(available(device))
    if task == "neurons":
        settings = {"model": model, "layer": layer, "pool": pool, "methods": chosen or DEFAULT_METHODS, "seed": seed}
        _neurons(features, images, settings, output)
        return
    found = [*methods(chosen), CEILING]
    made = grid_task(images, features, half=half, seed=seed, progress=True)
    _run(replace(made, settings={**made.settings, "model": model}), found, extent, output, resume)


def _features(model: str, weights: str | None, layer: str, pool: Pool) -> LatentFeatures:
    if weights is None and model != EMBEDDED:
        raise ValueError(f"Name the weights of {model}: --weights DEFAULT for those of torchvision, or a file.")
    return encoder(model, weights, layer, pool)[0]


def _run(task: Task, chosen: list[Method], extent: Extent, output: Path, resume: bool) -> None:
    task.similarity.to(memory_format=torch.channels_last)
    result = run_benchmark(task, chosen, extent=extent, output=output, resume=resume)
    written = table(result, [score for score in SHOWN + MORE if score in result["methods"][0]["scores"]])
    with write_atomically(output / "table.md") as path:
        path.write_text(written + "\n", encoding="utf-8")
    save_figure(benchmark_figure(result), output / "figure.png")
    typer.echo(f"{written}\n\nWrote results.json, table.md and figure.png to {output}.")


def _neurons(features: LatentFeatures, images: Path, settings: dict[str, Any], output: Path) -> None:
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise ValueError(f"Expected a new or empty folder, but {output} holds something already: choose another.")
    neurons = category_neurons(features, images, names=settings["methods"], seed=settings["seed"], progress=True)
    entries = [neuron.as_dict() for neuron in neurons]
    result = {"task": "neurons", "settings": settings, "versions": versions(), "neurons": entries}
    save_figure(preferences_figure(neurons), output / "figure.png")
    with write_atomically(output / RESULT) as path:
        path.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    typer.echo(f"Wrote results.json and figure.png to {output}.")
