"""``captum-shared explain``: one pair of photographs."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from captum_shared._files import write_atomically
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.cli.app import app, available, told
from captum_shared.encoders.by_name import EMBEDDED, encoder_by_name
from captum_shared.encoders.photographs import load_inputs, mid_grey
from captum_shared.encoders.pooling import Pool
from captum_shared.figures import check_output, pair_figure, pair_panels, save_figure
from captum_shared.images import to_display
from captum_shared.neurons.readout import LinearReadout
from captum_shared.study.pair import PairExplanation, explain_pair


@app.command()
@told
def explain(
    image: Annotated[Path, typer.Argument(help="The photograph to explain.")],
    references: Annotated[list[Path], typer.Argument(metavar="REFERENCE...", help="One or more to compare it with.")],
    model: Annotated[str, typer.Option(help="A model of torchvision, or 'embedded'.")],
    weights: Annotated[str | None, typer.Option(help="DEFAULT, another entry of torchvision, or a file.")] = None,
    layer: Annotated[str, typer.Option(help="Where to cut the network.")] = "features",
    pool: Annotated[Pool, typer.Option(help="How positions are summarised.")] = "average",
    readout: Annotated[Path | None, typer.Option(help="Readout file; without it, plain cosine similarity.")] = None,
    neuron: Annotated[str | None, typer.Option(help="Name or number of the neuron in the readout.")] = None,
    jacobian: Annotated[
        str, typer.Option(help="gradient, integrated_gradients or a class of captum.attr.")
    ] = "gradient",
    device: Annotated[str, typer.Option(help="cpu, cuda, mps ...")] = "cpu",
    output: Annotated[Path, typer.Option(help="The figure; the maps go beside it as .npz.")] = Path("pair.png"),
) -> None:
    """Show what an image shares with a reference, for one neuron."""
    check_output(output)
    if weights is None and model != EMBEDDED:
        raise ValueError(f"Name the weights of {model}: --weights DEFAULT for those of torchvision, or a file.")
    features = encoder_by_name(model, layer, weights=weights, pool=pool).to(available(device))
    images = load_inputs(features, [image, *references])
    with torch.no_grad():
        n_features = features(images[:1]).shape[1]
    chosen = LinearReadout.uniform(n_features) if readout is None else LinearReadout.load(readout)
    similarity = NeuronSimilarity(features, chosen.to(images))
    if neuron is not None and readout is None:
        raise ValueError("--neuron chooses among the neurons of a --readout: give both, or neither for plain cosine.")
    target = _neuron(chosen, neuron)
    seen_by = "plain cosine" if readout is None else f"neuron {chosen.neuron_names[target]}"
    options = {}
    if jacobian == "integrated_gradients":
        options = {"baselines": mid_grey(features, images[:1]), "internal_batch_size": 16}
    found = explain_pair(similarity, images[:1], images[1:], target=target, jacobian=jacobian, **options)
    reference = references[found.reference]
    _print_similarities(found, references, seen_by)
    shown = to_display(images[[0, 1 + found.reference]], features.preprocess)
    title = f"{seen_by} of {model}, {layer}: similarity {float(found.similarities[found.reference]):.2f}"
    panels = pair_panels(found, shown, (f"image\n{image.name}", f"reference\n{reference.name}"))
    save_figure(pair_figure(*panels, title=title), output)
    _save_maps(found, output.with_suffix(".npz"), image, references)
    typer.echo(f"Wrote {output} and {output.with_suffix('.npz')}.")


def _neuron(readout: LinearReadout, neuron: str | None) -> int:
    if neuron is not None:
        return readout.neuron_index(int(neuron) if neuron.isdigit() and neuron not in readout.neuron_names else neuron)
    if readout.n_neurons > 1:
        names = ", ".join(readout.neuron_names[:10]) + (", ..." if readout.n_neurons > 10 else "")
        raise ValueError(f"The readout has {readout.n_neurons} neurons ({names}): choose one with --neuron.")
    return 0


def _print_similarities(found: PairExplanation, references: list[Path], neuron: str) -> None:
    order = found.similarities.argsort(descending=True)
    for place in order.tolist():
        chosen = "  <- chosen" if len(references) > 1 and place == found.reference else ""
        typer.echo(f"similarity {float(found.similarities[place]):.4f} ({neuron}) with {references[place]}{chosen}")


def _save_maps(found: PairExplanation, path: Path, image: Path, references: list[Path]) -> None:
    maps: dict[str, Any] = {
        f"{name.removeprefix('shared, ').replace(' ', '_')}_{side}": pair[position][0].cpu().numpy()
        for name, pair in found.maps.items()
        for position, side in enumerate(("image", "reference"))
    }
    with write_atomically(path) as temporary:
        np.savez_compressed(
            temporary,
            image=str(image),
            reference=str(references[found.reference]),
            similarity=float(found.similarities[found.reference]),
            **maps,
        )
