"""``captum-shared explain``: one pair of photographs."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import torch
import typer
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import cosine_similarity

from captum_shared._files import write_atomically
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.cli.app import MethodNames, app, available, listed, told
from captum_shared.cli.pictures import Shown, beside, point_of
from captum_shared.encoders.by_name import EMBEDDED, encoder_by_name
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.photographs import latent_features, load_inputs
from captum_shared.encoders.pooling import Pool
from captum_shared.encoders.windows import local_scatter
from captum_shared.figures import (
    Candidate,
    check_output,
    explanation_panels,
    pair_figure,
    save_figure,
    shared_totals,
    told_share,
)
from captum_shared.images import image_folder, to_display
from captum_shared.methods.registry import DEFAULT_METHODS, methods_by_name
from captum_shared.neurons.readout import LinearReadout
from captum_shared.study.pair import PairExplanation, explain_pair

_FEWEST: Final = 10
"""Photographs that tell the mean of features, at least."""


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
    model: Annotated[str, typer.Option(help="Model of torchvision, timm:NAME, hf:NAME, or 'embedded'.")],
    weights: Annotated[
        str | None, typer.Option(help="DEFAULT, another weights entry of torchvision, a file or a folder.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer to cut the network at; by default the last that has positions.")
    ] = None,
    pool: Annotated[Pool, typer.Option(help="How the positions of the layer are summarised.")] = "average",
    readout: Annotated[
        Path | None, typer.Option(help="File of the readout; without it, plain cosine similarity.")
    ] = None,
    neuron: Annotated[str | None, typer.Option(help="Name or number of the neuron in the readout.")] = None,
    center: Annotated[
        Path | None,
        typer.Option(help="Without a readout: folder of photographs whose mean the features are measured from."),
    ] = None,
    method: MethodNames = None,
    components: Annotated[
        bool, typer.Option("--components", help="Draw which part of the image matches which part of the reference.")
    ] = False,
    match: Annotated[
        str | None,
        typer.Option(metavar="X,Y", help="Draw where this point of the image, in pixels of the figure, is found."),
    ] = None,
    null: Annotated[
        Path | None,
        typer.Option(help="Folder of photographs that do not drive the neuron: outline what is more than chance."),
    ] = None,
    device: Annotated[str, typer.Option(help="Device to compute on, such as cpu, cuda or mps.")] = "cpu",
    output: Annotated[Path, typer.Option(help="File of the figure; the maps go beside it as .npz.")] = Path("pair.png"),
) -> None:
    """Show what an image shares with a reference, for one neuron."""
    check_output(output)
    methods = methods_by_name(listed(method) or DEFAULT_METHODS)
    if weights is None and model != EMBEDDED:
        raise ValueError(f"Name the weights of {model}: --weights DEFAULT for those of torchvision, or a file.")
    if neuron is not None and readout is None:
        raise ValueError("--neuron chooses among the neurons of a --readout: give both, or neither for plain cosine.")
    if center is not None and readout is not None:
        raise ValueError("--center is for plain cosine similarity: a --readout brings the mean of its own images.")
    features = encoder_by_name(model, layer, weights=weights, pool=pool).to(available(device))
    images = load_inputs(features, [image, *references])
    point = None if match is None else point_of(match, (images.shape[2], images.shape[3]))
    if readout is None:
        centred, similarities = _plain(features, [image, *references], center)
        target, seen_by = 0, "plain cosine"
    else:
        neurons, similarities = LinearReadout.load(readout).to(images), None
        target = _target(neurons, neuron)
        centred, seen_by = NeuronSimilarity(features, neurons), f"neuron {neurons.neuron_names[target]}"
    explanation = explain_pair(
        centred, images[:1], images[1:], target=target, methods=methods, similarities=similarities
    )
    _print(explanation, references, seen_by)
    best = 1 + explanation.reference
    shown = to_display(images, features.preprocess)
    titles = (f"image\n{image.name}", f"reference\n{references[best - 1].name}")
    pair = Shown(centred, (images[:1], images[best : best + 1]), target, shown[[0, best]], titles)
    regions = None if null is None else pair.significant(null)
    title = f"{seen_by} of {model}, {features.layer}: similarity {float(explanation.similarities[best - 1]):.2f}"
    written = [output, output.with_suffix(".npz")]
    save_figure(_figure(explanation, pair, _candidates(explanation, shown, references), regions, title=title), output)
    _save_maps(explanation, written[1], image, references)
    if components:
        written.append(beside(output, "components"))
        pair.draw_components(written[-1])
    if point is not None:
        written.append(beside(output, "match"))
        pair.draw_counterpart(point, written[-1])
    typer.echo(f"Wrote {', '.join(map(str, written))}.")


def _plain(
    features: LatentFeatures, photographs: list[Path], center: Path | None
) -> tuple[NeuronSimilarity, Float[Tensor, " reference"]]:
    """Plain embedding similarity, centred by the photographs of a folder or those at hand; and cosines, uncentred.

    The mean of few photographs is about what they share, so that nothing would be left of it.
    """
    with local_scatter(features) as scatter:
        latent = latent_features(features, photographs)
        known = latent if center is None else latent_features(features, image_folder(center)[0])
    mean = known.mean(0)
    if len(known) < _FEWEST:
        mean = torch.zeros_like(mean)
        warnings.filterwarnings("ignore", ".* needs features measured from their mean")
        typer.echo(
            f"Features are not centred, as {len(known)} photographs do not tell their mean: give --center FOLDER with "
            f"{_FEWEST} or more of all sorts.",
            err=True,
        )
    readout = LinearReadout.uniform(latent.shape[1], mean, scatter.mean).to(latent)
    return NeuronSimilarity(features, readout), cosine_similarity(latent[:1], latent[1:])


def _target(readout: LinearReadout, neuron: str | None) -> int:
    if neuron is not None:
        return readout.neuron_index(int(neuron) if neuron.isdigit() and neuron not in readout.neuron_names else neuron)
    if readout.n_neurons > 1:
        names = ", ".join(readout.neuron_names[:10]) + (", ..." if readout.n_neurons > 10 else "")
        raise ValueError(f"The readout has {readout.n_neurons} neurons ({names}): choose one with --neuron.")
    return 0


def _print(explanation: PairExplanation, references: list[Path], seen_by: str) -> None:
    for index in explanation.similarities.argsort(descending=True).tolist():
        chosen = "  <- chosen" if len(references) > 1 and index == explanation.reference else ""
        similarity = float(explanation.similarities[index])
        typer.echo(f"similarity {similarity:.4f} ({seen_by}) with {references[index]}{chosen}")
    for each in explanation.explanations.values():
        if each.shared is not None:
            typer.echo(f"{each.method.title} ({each.method.name}): {told_share(float(each.shared[0]))}")


def _candidates(
    explanation: PairExplanation, shown: Float[Tensor, "image 3 height width"], references: list[Path]
) -> list[Candidate]:
    """All references with their similarities, the most similar first; none where there is no choice."""
    if len(references) == 1:
        return []
    return [
        Candidate(
            references[index].name,
            shown[1 + index],
            float(explanation.similarities[index]),
            chosen=index == explanation.reference,
        )
        for index in explanation.similarities.argsort(descending=True).tolist()
    ]


def _figure(
    explanation: PairExplanation,
    pair: Shown,
    candidates: list[Candidate],
    regions: Tensor | None,
    *,
    title: str,
) -> Figure:
    panels = [
        replace(panel, region=None if regions is None else regions[side])
        for side, panel in enumerate(explanation_panels(explanation.explanations, pair.pictures, pair.titles))
    ]
    totals = shared_totals(explanation.explanations)
    return pair_figure(panels[0], panels[1], title=title, shared=totals, candidates=candidates)


def _save_maps(explanation: PairExplanation, path: Path, image: Path, references: list[Path]) -> None:
    maps: dict[str, Any] = {
        f"{name}_{side}": one[0].cpu().numpy()
        for name, each in explanation.explanations.items()
        for side, one in zip(("image", "reference"), each.attributions, strict=True)
    }
    totals: dict[str, Any] = {
        f"{name}_shared": float(each.shared[0])
        for name, each in explanation.explanations.items()
        if each.shared is not None
    }
    with write_atomically(path) as temporary:
        np.savez_compressed(
            temporary,
            image=str(image),
            reference=str(references[explanation.reference]),
            similarity=float(explanation.similarities[explanation.reference]),
            **totals,
            **maps,
        )
