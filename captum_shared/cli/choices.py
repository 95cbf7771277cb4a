"""What options let one choose from, known without the rooms that it is for, which are slow to import."""

from typing import Annotated, Literal, TypeAlias

import typer

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
        min=1,
        callback=_allow_pixels,
        help="Number of pixels that an image file may have, 89 million by default.",
    ),
]
