"""Options from a settings file: ``captum-shared study --config study.toml``."""

import inspect
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import typer

from captum_shared.cli.wanted import nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NOT_IN_FILES: Final = ("config", "check", "help")
"""Options that belong on the command line."""

_PERHAPS_FILES: Final = ("weights",)  # names of something, or files
_KINDS: Final = {bool: "true or false", int: "a whole number", float: "a number", str: "text in quotes"}


def option_names(command: Any) -> dict[str, Any]:
    """Name the options that a settings file may have.

    Args:
        command: the command.

    Returns:
        Its parameters by their names in the file, which are those of the options.
    """
    return {
        each.name.replace("_", "-") if each.param_type_name == "argument" else each.opts[0].lstrip("-"): each
        for each in command.params
        if each.name not in NOT_IN_FILES
    }


def settings_in(file: Path, command: Any) -> dict[str, Any]:
    """Read the options that a settings file has for a command.

    Args:
        file: a TOML file with a table of the name of the command; paths in it are relative to its folder.
        command: the command.

    Returns:
        The values by parameter.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no TOML, or a name or value is none of an option.
    """
    known, hints = option_names(command), get_type_hints(inspect.unwrap(command.callback))
    values = {}
    for name, value in _table(file, command.name).items():
        if name not in known:
            raise ValueError(
                f"Expected options of captum-shared {command.name} in {file}, got {name!r}: {nearest(name, known)}"
            )
        parameter = known[name].name
        try:
            values[parameter] = _converted(value, hints[parameter], file.parent)
        except TypeError as error:
            raise ValueError(f"Expected {error} for {name} in {file}, got {value!r}: mend that line.") from error
        if parameter in _PERHAPS_FILES:
            values[parameter] = [_file_if_any(each, file.parent) for each in values[parameter]]
    return values


def _table(file: Path, name: str) -> Mapping[str, Any]:
    """The table of a command."""
    if not file.is_file():
        raise FileNotFoundError(f"Expected a settings file, got no file at {file}: captum-shared init writes one.")
    try:
        content = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except ValueError as error:  # of TOML or of UTF-8
        raise ValueError(
            f"Expected settings as TOML in {file}, got: {error}. Mend that line; captum-shared init writes an example."
        ) from error
    for section in content:
        if section != name:
            raise ValueError(
                f"Expected all settings below the line [{name}] in {file}, got {section!r} elsewhere: move it there, "
                "or leave it out."
            )
    table = content.get(name, {})
    if not isinstance(table, Mapping):
        raise ValueError(
            f"Expected settings below the line [{name}] in {file}, got {name} = {table!r}: mend that line."
        )
    return table


def _converted(value: Any, hint: Any, folder: Path) -> Any:
    """A value as an option takes it; a TypeError tells what it should be."""
    of = get_args(hint)
    if get_origin(hint) in (Union, types.UnionType):
        return _converted(value, next(each for each in of if each is not type(None)), folder)
    if get_origin(hint) is list:
        return [_converted(each, of[0], folder) for each in (value if isinstance(value, list) else [value])]
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or len(value) != len(of):
            raise TypeError(f"a list of {len(of)} values")
        return tuple(_converted(each, one, folder) for each, one in zip(value, of, strict=True))
    if get_origin(hint) is Literal:
        if value not in of:
            raise TypeError(f"one of {', '.join(map(repr, of))}")
        return value
    if hint is Path:
        return str(folder / Path(_converted(value, str, folder)).expanduser())
    suits = type(value) is hint or (hint is float and type(value) is int)
    if not suits:
        raise TypeError(_KINDS[hint])
    return value


def _file_if_any(name: str, folder: Path) -> str:
    file = folder / Path(name).expanduser()
    return str(file) if file.exists() else name


def _configure(context: Any, file: Path | None) -> Path | None:
    """Take what a file has for what is not on the command line."""
    if file is not None:
        context.default_map = settings_in(file, context.command)
    return file


Config: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        is_eager=True,
        callback=_configure,
        help="Settings file, as captum-shared init writes it; options on the command line win over it.",
    ),
]
