"""``captum-shared layers``: where a network can be cut."""

from typing import Annotated

import typer

from captum_shared.cli.app import app, told


@app.command(epilog="Example: captum-shared layers resnet18")
@told
def layers(
    model: Annotated[
        str,
        typer.Argument(help="Model of torchvision, timm:NAME, hf:NAME (NAME may be a local folder), or 'embedded'."),
    ],
    weights: Annotated[
        str | None, typer.Option(help="DEFAULT, another weights entry of torchvision, a file or a folder; else random.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(min=1, help="Height and width of the image in pixels, if not what the network is made for."),
    ] = None,
) -> None:
    """List the layers of a network in the order of their calls, with the shape of each one's output for one image.

    Layers with positions, in rows and columns, can be explained by the recommended method; of a layer that gives
    several tensors each is listed by the name to pick it by. The last line names the layer that is taken by default.
    """
    import torch

    from captum_shared.encoders import (
        example_input,
        last_layer_with_positions,
        layer_outputs,
        load_weights,
        network_by_name,
    )

    network, preprocess, file = network_by_name(model, weights)
    images = example_input(preprocess)
    if file is not None:
        load_weights(network, file, name=model)
    if size is not None:
        images = torch.nn.functional.interpolate(images, (size, size))
    listed = layer_outputs(network, images)
    width = max(len(layer.name) for layer in listed)
    typer.echo(f"{'layer':<{width}}  {'output':<18}  positions")
    for layer in listed:
        shape = " x ".join(map(str, layer.shape))
        grid = "-" if layer.grid is None else f"{layer.grid[0]} x {layer.grid[1]}"
        typer.echo(f"{layer.name:<{width}}  {shape:<18}  {grid}")
    typer.echo(f"\nBy default the network is cut at {last_layer_with_positions(network, images)}.")
