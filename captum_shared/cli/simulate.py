"""``captum-shared simulate``: a recording in a drawn world."""

from pathlib import Path
from typing import Annotated

import typer

from captum_shared.cli.app import app, told
from captum_shared.recordings.formats.table import WRITTEN


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
