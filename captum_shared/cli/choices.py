"""What options let one choose from, known without the rooms that it is for, which are slow to import."""

from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import typer

RECORDING: Final = "Recording and images"
"""Heading of options in a help, as are the next."""

WORK: Final = "Work"

Pool: TypeAlias = Literal["average", "max", "none", "class_token"]
Half: TypeAlias = Literal["development", "report", "all"]
FigureFormat: TypeAlias = Literal["png", "pdf", "svg"]

Force: TypeAlias = Annotated[
    bool, typer.Option("--force", help="Replace files that exist, but for those that are read.")
]
MethodNames: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="Name of a method, again or with commas for more; recommended and paper by default.",
    ),
]
Features: TypeAlias = Annotated[
    Path | None,
    typer.Option("--features", help="Store of captum-shared features to take the features of all photographs from."),
]
SkipBad: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--skip-bad", rich_help_panel=RECORDING, help="Leave out images whose file is damaged, too large or no image."
    ),
]
EngineName: TypeAlias = Annotated[
    Literal["local", "ray"],
    typer.Option(
        "--engine", rich_help_panel=WORK, help="What computes: this process, or workers of Ray, with the same results."
    ),
]
Address: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="NAME",
        rich_help_panel=WORK,
        help="Cluster of Ray to join, such as node01:6379; by default that of RAY_ADDRESS, or workers on this machine.",
    ),
]
Workers: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        rich_help_panel=WORK,
        help="Number of workers; by default as many as there are processors for.",
    ),
]


def _allow_pixels(number: int | None) -> int | None:
    """Set how many pixels an image may have, once the command is known to run."""
    if number is not None:
        from captum_shared.images import set_max_pixels

        set_max_pixels(number)
    return number


MaxPixels: TypeAlias = Annotated[
    int | None,
    typer.Option(
        "--max-pixels",
        metavar="N",
        rich_help_panel=RECORDING,
        min=1,
        callback=_allow_pixels,
        help="Number of pixels that an image file may have, 89 million by default.",
    ),
]
