"""``captum-shared explain``: one pair of photographs."""

from pathlib import Path
from typing import Annotated

import typer

from captum_shared._files import check_outputs
from captum_shared.cli.app import app, listed, told
from captum_shared.cli.choices import Force, MaxPixels, MethodNames, Pool


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
    any_encoder: Annotated[
        bool, typer.Option("--any-encoder", help="Take a readout that was fitted to features of another encoder.")
    ] = False,
    center: Annotated[
        Path | None,
        typer.Option(help="Without a readout: folder of photographs whose mean the features are measured from."),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(help="Store of captum-shared features to take those of the photographs of --center from."),
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
    max_pixels: MaxPixels = None,
    device: Annotated[str, typer.Option(help="Device to compute on, such as cpu, cuda or mps.")] = "cpu",
    output: Annotated[Path, typer.Option(help="File of the figure; the maps go beside it as .npz.")] = Path("pair.png"),
    report: Annotated[
        bool, typer.Option("--report", help="Write a page, too, on which places light up as you point at them.")
    ] = False,
    force: Force = False,
) -> None:
    """Show what an image shares with a reference, for one neuron."""
    import torch

    from captum_shared.attr.similarity import NeuronSimilarity
    from captum_shared.cli.explained import (
        candidates_of,
        chosen_neuron,
        figure_of,
        made_before,
        plain_similarity,
        print_similarities,
        save_maps,
        told_neuron,
        told_of,
    )
    from captum_shared.cli.networks import available, encoder
    from captum_shared.cli.pictures import Shown, beside, point_of
    from captum_shared.encoders.photographs import load_inputs
    from captum_shared.encoders.store import FeatureStore
    from captum_shared.figures import check_output, save_figure
    from captum_shared.images import image_folder, to_display
    from captum_shared.methods.registry import DEFAULT_METHODS, methods_by_name
    from captum_shared.neurons.readout import LinearReadout
    from captum_shared.report import write_pair_report
    from captum_shared.study.pair import explain_pair, pair_evidence

    check_output(output)
    maps_file = output.with_suffix(".npz")
    drawn = [output, *(beside(output, what) for what, asked in (("components", components), ("match", match)) if asked)]
    page = [output.with_suffix(".html")] if report else []
    read = [
        image,
        *references,
        *(Path(each) for each in (weights, readout, center, features, null) if each is not None),
    ]
    check_outputs([*drawn, maps_file, *page], read=read, made=made_before(maps_file), force=force)
    methods = methods_by_name(listed(method) or DEFAULT_METHODS)
    if neuron is not None and readout is None:
        raise ValueError("--neuron chooses among the neurons of a --readout: give both, or neither for plain cosine.")
    if center is not None and readout is not None:
        raise ValueError("--center is for plain cosine similarity: a --readout brings the mean of its own images.")
    if features is not None and center is None:
        raise ValueError("--features has the features of the photographs of --center: give both, or neither.")
    if null is not None:
        image_folder(null)
    cut = encoder(model, layer, weights, pool=pool).to(available(device))
    images = load_inputs(cut, [image, *references])
    point = None if match is None else point_of(match, (images.shape[2], images.shape[3]))
    if readout is None:
        store = None if features is None else FeatureStore.open(features)
        centred, similarities = plain_similarity(cut, [image, *references], center, store)
        target, seen_by = 0, "plain cosine"
    else:
        neurons, similarities = LinearReadout.load(readout).to(images), None
        target = chosen_neuron(neurons, neuron)
        centred, seen_by = NeuronSimilarity(cut, neurons, any_encoder=any_encoder), told_neuron(neurons, target)
    explanation = explain_pair(
        centred, images[:1], images[1:], target=target, methods=methods, similarities=similarities
    )
    print_similarities(explanation, references, seen_by)
    best = 1 + explanation.reference
    shown = to_display(images, cut.preprocess)
    titles = (f"image\n{image.name}", f"reference\n{references[best - 1].name}")
    pair = Shown(centred, (images[:1], images[best : best + 1]), target, shown[[0, best]], titles)
    tested = None if null is None else pair.significant(null)
    regions = None if tested is None else torch.cat(tested.of_pixels((shown.shape[2], shown.shape[3])))
    title = f"{seen_by} of {model}, {cut.layer}: similarity {float(explanation.similarities[best - 1]):.2f}"
    save_figure(
        figure_of(explanation, pair, candidates_of(explanation, shown, references), regions, title=title), output
    )
    if components:
        pair.draw_components(beside(output, "components"))
    if point is not None:
        pair.draw_counterpart(point, beside(output, "match"))
    evidence = pair_evidence(centred, pair.inputs, target, tested) if report else None
    told_too = told_of(explanation, pair, shown, evidence, title=title)
    save_maps(explanation, maps_file, [image, *references], drawn, told_too)
    for path in page:
        write_pair_report(maps_file, path)
    typer.echo(f"Wrote {', '.join(map(str, [drawn[0], maps_file, *drawn[1:], *page]))}.")
    for path in page:
        typer.echo(f"To look at: {path.absolute().as_uri()}")
