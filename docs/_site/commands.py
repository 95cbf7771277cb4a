"""The options of every command, as tables."""

from collections.abc import Iterator

import typer
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
    yield f"{command.help}\n"  # type: ignore[attr-defined]
    if command.epilog:  # type: ignore[attr-defined]
        yield f"{_with_code(command.epilog)}\n"  # type: ignore[attr-defined]
    yield "| option | what it says |"
    yield "| --- | --- |"
    context = command.make_context(name, [], resilient_parsing=True)  # type: ignore[attr-defined]
    for parameter in command.params:  # type: ignore[attr-defined]
        record = parameter.get_help_record(context)
        if record and "--help" not in record[0]:
            option, text = (part.replace("|", "\\|") for part in record)
            yield f"| `{option}` | {text.replace('  [', ' [')} |"
    yield ""


def _with_code(example: str) -> str:
    """The example of a command, with the command as code."""
    before, sign, after = example.partition(": captum-shared")
    return f"{before}:\n\n```text\ncaptum-shared{after}\n```" if sign else example
