"""``captum-shared explain``: one pair of photographs."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from captum_shared._files import write_atomically
from captum_shared.cli.app import app, available, told
from captum_shared.encoders.by_name import EMBEDDED, encoder_by_name
from captum_shared.encoders.photographs import load_inputs
from captum_shared.encoders.pooling import Pool
from captum_shared.figures import check_output, pair_figure, pair_panels, save_figure
from captum_shared.images import to_display
from captum_shared.neurons.readout import LinearReadout
from captum_shared.study.pair import PairExplanation, explain_pair


@app.command(
    epilog="Example, after captum-shared simulate --output world: captum-shared explain "
    "world/images/artefact_0000.png world/images/creature_0000.png world/images/creature_0001.png --model embedded"
)
@told
def explain(
    image: Annotated[Path, typer.Argument(help="Photograph to explain.")],
    references: Annotated[
        list[Path], typer.Argument(metavar="REFERENCE...", help="One or more photographs to compare it with.")
    ],
    model: Annotated[str, typer.Option(help="Model of torchvision, or 'embedded'.")],
    weights: Annotated[
        str | None, typer.Option(help="DEFAULT, another weights entry of torchvision, or a file.")
    ] = None,
    layer: Annotated[str, typer.Option(help="Layer to cut the network at.")] = "features",
    pool: Annotated[Pool, typer.Option(help="How the positions of the layer are summarised.")] = "average",
    readout: Annotated[
        Path | None, typer.Option(help="File of the readout; without it, plain cosine similarity.")
    ] = None,
    neuron: Annotated[str | None, typer.Option(help="Name or number of the neuron in the readout.")] = None,
    jacobian: Annotated[
        str, typer.Option(help="gradient, integrated_gradients or the name of a class in captum.attr.")
    ] = "gradient",
    device: Annotated[str, typer.Option(help="Device to compute on, such as cpu, cuda or mps.")] = "cpu",
    output: Annotated[Path, typer.Option(help="File of the figure; the maps go beside it as .npz.")] = Path("pair.png"),
) -> None:
    """Show what an image shares with a reference, for one neuron."""
    check_output(output)
    if weights is None and model != EMBEDDED:
        raise ValueError(f"Name the weights of {model}: --weights DEFAULT for those of torchvision, or a file.")
    if neuron is not None and readout is None:
        raise ValueError("--neuron chooses among the neurons of a --readout: give both, or neither for plain cosine.")
    features = encoder_by_name(model, layer, weights=weights, pool=pool).to(available(device))
    images = load_inputs(features, [image, *references])
    neurons = None if readout is None else LinearReadout.load(readout).to(images)
    target = 0 if neurons is None else _target(neurons, neuron)
    seen_by = "plain cosine" if neurons is None else f"neuron {neurons.neuron_names[target]}"
    explanation = explain_pair(
        features, neurons, image=images[:1], references=images[1:], target=target, jacobian=jacobian
    )
    best = explanation.reference
    _print_similarities(explanation, references, seen_by)
    shown = to_display(images[[0, 1 + best]], features.preprocess)
    title = f"{seen_by} of {model}, {layer}: similarity {float(explanation.similarities[best]):.2f}"
    panels = pair_panels(explanation, shown, (f"image\n{image.name}", f"reference\n{references[best].name}"))
    save_figure(pair_figure(*panels, title=title), output)
    _save_maps(explanation, output.with_suffix(".npz"), image, references)
    typer.echo(f"Wrote {output} and {output.with_suffix('.npz')}.")


def _target(readout: LinearReadout, neuron: str | None) -> int:
    if neuron is not None:
        return readout.neuron_index(int(neuron) if neuron.isdigit() and neuron not in readout.neuron_names else neuron)
    if readout.n_neurons > 1:
        names = ", ".join(readout.neuron_names[:10]) + (", ..." if readout.n_neurons > 10 else "")
        raise ValueError(f"The readout has {readout.n_neurons} neurons ({names}): choose one with --neuron.")
    return 0


def _print_similarities(explanation: PairExplanation, references: list[Path], neuron: str) -> None:
    for index in explanation.similarities.argsort(descending=True).tolist():
        chosen = "  <- chosen" if len(references) > 1 and index == explanation.reference else ""
        similarity = float(explanation.similarities[index])
        typer.echo(f"similarity {similarity:.4f} ({neuron}) with {references[index]}{chosen}")


def _save_maps(explanation: PairExplanation, path: Path, image: Path, references: list[Path]) -> None:
    maps: dict[str, Any] = {
        f"{name.removeprefix('shared, ').replace(' ', '_')}_{side}": one[0].cpu().numpy()
        for name, pair in explanation.maps.items()
        for side, one in zip(("image", "reference"), pair, strict=True)
    }
    with write_atomically(path) as temporary:
        np.savez_compressed(
            temporary,
            image=str(image),
            reference=str(references[explanation.reference]),
            similarity=float(explanation.similarities[explanation.reference]),
            **maps,
        )
