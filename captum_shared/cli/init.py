"""``captum-shared init``: a table of images and a settings file to start from."""

import json
import os
import textwrap
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.main import get_command

from captum_shared._files import check_outputs, write_atomically
from captum_shared.cli.app import app, told
from captum_shared.cli.choices import Force
from captum_shared.cli.configured import option_names

_HEAD: Final = """\
# Settings of a study. First see what it would do, then let it:
#     captum-shared study --config study.toml --check
#     captum-shared study --config study.toml
#
# Paths are relative to this file. Options on the command line win over those here. Lines that begin with # are off;
# the values in them are the defaults, or examples where there is no default.
#
# The table of the images, stimuli.csv, has three columns: stimulus_id, the name that the recording has for an image;
# filename, its file, relative to the folder of the images; category, what it shows. One line an image.
#
# The network 'embedded' comes with the package and knows drawn creatures. For photographs take one that was trained on
# photographs, such as model = ["resnet50"], weights = ["DEFAULT"], layer = ["auto"].

[study]
"""
_EXAMPLES: Final[dict[str, Any]] = {
    "recording": "recording.nc",
    "images": "images",
    "preferred": "body",
    "model": ["embedded"],
    "layer": ["features"],
    "output": "study",
    "stimuli": "stimuli.csv",
    "neurons": ["first", "second"],
    "region": ["IT"],
    "weights": ["DEFAULT"],
    "features": ["store"],
    "max-pixels": 89478485,
    "method": ["recommended", "paper"],
    "behaviour": "behaviour.csv",
    "show": "recommended",
    "address": "node01:6379",
    "workers": 4,
}
_ON: Final = ("stimuli",)
_ROWS: Final = (("body_01", "bodies/01.png", "body"), ("object_01", "objects/01.png", "object"))


@app.command(
    epilog="Example, after captum-shared simulate --output world: captum-shared init settings --images world/images"
)
@told
def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where to write to.")] = Path(),
    images: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder of images to list in the table; subfolders are categories."),
    ] = None,
    force: Force = False,
) -> None:
    """Write a table of images and a settings file with all options explained, to start a study from."""
    table, settings = folder / "stimuli.csv", folder / "study.toml"
    there = [str(file) for file in (table, settings) if file.exists()]
    if there and not force:
        raise FileExistsError(f"Expected a folder without {' and '.join(there)}: choose another, or give --force.")
    check_outputs([table, settings], read=[], force=force)
    from captum_shared.recordings.formats.stimulus_table import StimulusTable

    rows = _ROWS if images is None else _listed(images)
    identifiers, filenames, categories = zip(*rows, strict=True)
    examples = dict(_EXAMPLES)
    if images is not None:
        examples["images"] = _seen_from(images, folder)
        examples["preferred"] = next(filter(None, categories), _EXAMPLES["preferred"])
    whole: Any = get_command(app)
    text = settings_text(whole.commands["study"], examples)
    StimulusTable(table, identifiers, filenames, categories).write()
    with write_atomically(settings) as file:
        file.write_text(text, encoding="utf-8")
    counts = ", ".join(f"{category or 'no category'} ({number})" for category, number in Counter(categories).items())
    told_images = "" if images is None else f" {len(rows)} images: {counts}."
    typer.echo(
        f"Wrote {table} and {settings}.{told_images} Next: edit them, then captum-shared study --config {settings} "
        "--check"
    )


def settings_text(command: Any, examples: dict[str, Any]) -> str:
    """Write the settings file of a command, with all of its options and their defaults.

    Args:
        command: the command.
        examples: values by option, for those that have no default.

    Returns:
        The file.
    """
    panels: dict[str, list[str]] = {}
    for name, option in option_names(command).items():
        off = "" if option.required or name in _ON else "# "
        value = _toml(examples.get(name) if option.default is None or option.required else option.default)
        told = f"{option.help}{' Required.' * option.required}"
        panel = getattr(option, "rich_help_panel", None) or "Recording and images"
        panels.setdefault(panel, []).append(
            f"{textwrap.indent(textwrap.fill(told, 110), '# ')}\n{off}{name} = {value}\n"
        )
    return _HEAD + "".join(f"\n## {panel}\n\n" + "\n".join(lines) for panel, lines in panels.items())


def _toml(value: Any) -> str:
    """A value as TOML has it, which for these is as JSON has it."""
    return json.dumps(value, ensure_ascii=False)


def _listed(images: Path) -> list[tuple[str, str, str]]:
    """Identifier, file and category of the images of a folder."""
    from captum_shared.images import image_folder

    paths, categories = image_folder(images)
    names = [path.relative_to(images).as_posix() for path in paths]
    stems = [path.stem for path in paths]
    identifiers = stems if len({*stems}) == len(stems) else names
    return list(zip(identifiers, names, categories, strict=True))


def _seen_from(images: Path, folder: Path) -> str:
    try:
        return Path(os.path.relpath(images, folder)).as_posix()
    except ValueError:  # on another drive
        return images.absolute().as_posix()
