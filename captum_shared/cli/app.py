"""What all commands share."""

import functools
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import torch
import typer

app = typer.Typer(
    name="captum-shared",
    help="What do two images share, for this neuron?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

MethodNames: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--method",
        help="Name of a method, again or with commas for more; recommended and paper by default.",
    ),
]


def told(command: Callable[..., None]) -> Callable[..., None]:
    """Print what is wrong with the input as a sentence instead of a traceback.

    Args:
        command: a command of the command line.

    Returns:
        The command, which ends with status 2 after an error that a user can mend.
    """

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (ValueError, TypeError, OSError, RuntimeError, ImportError) as error:
            typer.echo(f"captum-shared: {error}", err=True)
            raise typer.Exit(2) from error

    return wrapper


def listed(names: list[str] | None) -> list[str] | None:
    """Return the names of an option that was given several times, or with commas.

    Args:
        names: the option.

    Returns:
        The names, or None if there are none.

    Example:
        >>> listed(["paper,random", "recommended"])
        ['paper', 'random', 'recommended']
    """
    return [name for option in names or [] for name in option.split(",") if name] or None


@app.callback()
def _main() -> None:
    """What do two images share, for this neuron?"""


def available(device: str) -> torch.device:
    """Return the device of a name.

    Args:
        device: its name.

    Returns:
        The device.

    Raises:
        ValueError: if it is not available.
    """
    try:
        return torch.zeros(1, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"The device {device!r} is not available here ({str(error).splitlines()[0]}). Use --device cpu."
        ) from error
