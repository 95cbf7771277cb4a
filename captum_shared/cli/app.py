"""What all commands share."""

import errno
import functools
import importlib.metadata
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from captum_shared._reading import described
from captum_shared.cli.commands import DEBUG, InOrder, debugging
from captum_shared.cli.waiting import moving

app = typer.Typer(
    name="captum-shared",
    cls=InOrder,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def told(command: Callable[..., None]) -> Callable[..., None]:
    """Print what is wrong with the input as a sentence instead of a traceback, and warnings without their line of code.

    Args:
        command: a command of the command line.

    Returns:
        The command, which ends with status 2 after an error that a user can mend.
    """

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        try:
            with moving(), warnings.catch_warnings():
                warnings.showwarning = _warned
                command(*args, **kwargs)
        except KeyboardInterrupt:
            raise typer.Exit(128 + signal.SIGINT) from None  # of which __main__ tells
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise  # the last: whoever read what is printed wants no more, and Typer ends quietly
        except Exception as error:
            if debugging():
                traceback.print_exception(error, file=sys.stderr)
            typer.echo(f"captum-shared: {_sentence(error)}{_if_full(error)}", err=True)
            raise typer.Exit(2) from error

    return wrapper


def _if_full(error: Exception) -> str:
    """What to do about a full disk."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return (
        ". Make room on the disk; what a study, a benchmark or a store of features has done is kept, and --resume goes "
        "on with it."
        if full
        else ""
    )


def _warned(message: Warning | str, *_: Any, **__: Any) -> None:
    typer.echo(f"captum-shared: {message}", err=True)


def _sentence(error: Exception) -> str:
    """What is wrong: the error's own words where they are meant for users, and otherwise what to do about it."""
    if isinstance(error, MemoryError):
        return f"There is not enough memory ({described(error)}): give fewer or smaller files, or a machine with more."
    of_users = type(error) in (ValueError, TypeError) or isinstance(error, OSError | ImportError | RuntimeError)
    if of_users and str(error) and not isinstance(error, RecursionError):
        return str(error)
    frames = [each for each in traceback.extract_tb(error.__traceback__) if "captum_shared" in each.filename]
    where = f", in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"Something unexpected happened ({described(error)}{where}): please report it, with the command you gave."


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


def _version(asked: bool) -> bool:
    if asked:
        typer.echo(f"captum-shared {importlib.metadata.version('captum-shared')}")
        raise typer.Exit
    return asked


@app.callback(
    epilog="What to do first: captum-shared demo. With a recording of your own: captum-shared init. Each command tells "
    "more, with an example: captum-shared study --help."
)
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(DEBUG, help="Show the traceback of an error; after any command, too.")] = False,
) -> None:
    """What do two images share, for this neuron?"""
