"""The commands as a whole: in the order of use, wrong options as sentences, and tracebacks only where asked for."""

import difflib
import os
import re
import sys
import traceback
from collections.abc import Sequence
from contextvars import ContextVar
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NoReturn

import typer
from typer.core import TyperGroup

DEBUG: Final = "--debug"
"""Option of every command, before or after its name."""

_ASKED: Final = ContextVar("debug", default=False)
_VARIABLE: Final = "CAPTUM_SHARED_DEBUG"
_ANY_WRONG: Final[Any] = typer.BadParameter.__mro__[
    2
]  # ClickException, of which older versions of Typer import another

PANELS: Final = {
    "To try": ("demo", "simulate"),
    "To choose": ("layers", "methods"),
    "For a recording": ("init", "features", "study", "report"),
    "For a pair of photographs": ("explain",),
    "For people who study methods": ("benchmark",),
}
"""The commands under their headings, in the order of use."""


class InOrder(TyperGroup):
    """All commands in the order of use; whatever is wrong with options is a sentence."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Name the commands in the order in which they are needed."""
        for panel, names in PANELS.items():
            for name in names:
                if name in self.commands:
                    self.commands[name].rich_help_panel = panel  # type: ignore[attr-defined]
        return [name for names in PANELS.values() for name in names if name in self.commands]

    def main(self, *others: Any, **extra: Any) -> Any:
        """Run a command; its status is 2 where the options are wrong."""
        args = extra.pop("args", None) if not others else others[0]
        typed = [*(sys.argv[1:] if args is None else args)]
        options = typed[: typed.index("--")] if "--" in typed else typed
        token = _ASKED.set(DEBUG in options)
        kept = [re.sub(r"(?<![^=])~(?=/)", str(Path.home()), word) for word in options if word != DEBUG]
        kept += typed[len(options) :]
        try:
            extra["standalone_mode"] = False
            sys.exit(super().main(kept, **extra))
        except _ANY_WRONG as error:
            _told(error, kept)
        except (ValueError, OSError) as error:  # of a settings file
            if debugging():
                traceback.print_exception(error)
            typer.echo(f"captum-shared: {error}", err=True)
            sys.exit(2)
        except typer.Abort:
            sys.exit(1)
        finally:
            _ASKED.reset(token)


def debugging() -> bool:
    """Tell whether tracebacks are asked for, by ``--debug`` or the variable ``CAPTUM_SHARED_DEBUG``."""
    return _ASKED.get() or os.environ.get(_VARIABLE, "") not in ("", "0")


def _told(error: Any, typed: Sequence[str]) -> NoReturn:
    """Print what is wrong with the options, and end."""
    if debugging():
        traceback.print_exception(error)
    kind = type(error).__name__
    if kind == "NoArgsIsHelpError":
        error.show()
        sys.exit(2)
    said = _SENTENCES.get(kind, _as_said)(error, typed)
    command = error.ctx.command_path if getattr(error, "ctx", None) else "captum-shared"
    ending = "" if said.endswith("?") else "."
    typer.echo(f"captum-shared: {said}{ending} See {command} --help.", err=True)
    sys.exit(error.exit_code)


def _as_said(error: Any, typed: Sequence[str]) -> str:
    return " ".join(error.format_message().split()).rstrip(".")


def _unknown(error: Any, typed: Sequence[str]) -> str:
    close = difflib.get_close_matches(error.option_name, error.possibilities or (), n=1, cutoff=0.5)
    return f"There is no option {error.option_name}" + (f". Did you mean {close[0]}?" if close else "")


def _missing(error: Any, typed: Sequence[str]) -> str:
    """All that is missing, not only the first."""
    known = error.ctx.default_map or {}
    words = {word.partition("=")[0] for word in typed}
    missing = [
        each.opts[0] if each.param_type_name == "option" else (each.metavar or each.name.upper()).rstrip(".")
        for each in error.ctx.command.params
        if each is error.param or (each.required and each.name not in known and not words & {*each.opts})
        if each is error.param or each.param_type_name == "option"
    ]
    return f"Missing: {', '.join(missing)}"


def _invalid(error: Any, typed: Sequence[str]) -> str:
    """What is wrong with a value, and the value."""
    said = _as_said(error, typed).replace("Value error, ", "").replace("Input should be", "it should be")
    options = [] if error.param is None else error.param.opts
    values = [word for before, word in pairwise(typed) if before in options]
    values += [word.partition("=")[2] for word in typed if word.partition("=")[0] in options and "=" in word]
    return said if any(value in said for value in values) else f"{said}, got {', '.join(map(repr, values))}"


_SENTENCES: Final = {"NoSuchOption": _unknown, "MissingParameter": _missing, "BadParameter": _invalid}
