"""``captum-shared report``: a study, a benchmark or a pair, to look at in a browser."""

from pathlib import Path
from typing import Annotated

import typer

from captum_shared.cli.app import app, told


@app.command(epilog="Example, after captum-shared study ... --output study: captum-shared report study")
@told
def report(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="Folder of a study or a benchmark, or the .npz file of captum-shared explain.",
        ),
    ],
    output: Annotated[
        Path | None, typer.Option(help="File of the report; by default report.html in the folder.")
    ] = None,
) -> None:
    """Write a study, a benchmark or a pair as one HTML file, to be opened in any browser without a network."""
    from captum_shared.report import write_report

    file = write_report(folder, output)
    typer.echo(f"Wrote {file.absolute().as_uri()} ({file.stat().st_size / 1e6:.1f} MB): open it in a browser.")
