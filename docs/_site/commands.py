"""The options of every command, as tables."""

import textwrap
from collections.abc import Iterator

import typer.main

from captum_shared.cli import app


def told_commands() -> str:
    """Markdown: a section a command, with what it does, its options and its example."""
    return "\n".join(
        line for name, command in _commands(typer.main.get_command(app), "") for line in _told(name, command)
    )


def _commands(group: object, above: str) -> Iterator[tuple[str, object]]:
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        whole = f"{above} {name}".strip()
        if hasattr(command, "commands"):
            yield from _commands(command, whole)
        else:
            yield whole, command


def _told(name: str, command: object) -> Iterator[str]:
    yield f"\n## {name}\n"
    for paragraph in [*command.help.split("\n\n"), *(command.epilog or "").split("\n\n")]:  # type: ignore[attr-defined]
        yield f"{_with_code(paragraph)}\n"
    yield "| option | what it says |"
    yield "| --- | --- |"
    context = command.make_context(name, [], resilient_parsing=True)  # type: ignore[attr-defined]
    for parameter in command.params:  # type: ignore[attr-defined]
        record = parameter.get_help_record(context)
        if record and "--help" not in record[0]:
            yield f"| `{record[0]}` | {record[1].replace('|', chr(92) + '|').replace('  [', ' [')} |"
    yield ""


def _with_code(paragraph: str) -> str:
    """A paragraph of a command's help, with the command of an example as code."""
    before, sign, after = paragraph.partition(": captum-shared")
    if not (sign and paragraph.startswith("Example")):
        return paragraph
    lines = textwrap.wrap(f"captum-shared{after}", 76, break_long_words=False, break_on_hyphens=False)
    return f"{before}:\n\n```text\n" + " \\\n    ".join(lines) + "\n```"
