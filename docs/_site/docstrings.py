"""How docstrings are read for the reference: their one example, and the names that they point to."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import griffe
from latex2mathml.converter import convert

PACKAGE = Path(__file__).parents[2] / "captum_shared"
ROLE = re.compile(r":(?:func|class|meth|attr|mod|data):`(?:[^`<]*<)?~?([\w.]+)>?`")
EQUATION = re.compile(r"^( *)\.\. math:: ?(.*(?:\n(?:\1 +\S.*))*)", re.MULTILINE)
SYMBOLS = re.compile(r":math:`([^`]+)`")


def faces() -> dict[str, list[str]]:
    """The public names of the package and of each room: {'captum_shared.attr': ['Match', ...]}."""
    found = {}
    for stub in [PACKAGE / "__init__.pyi", *sorted(PACKAGE.glob("*/__init__.pyi"))]:
        nodes = ast.parse(stub.read_text(encoding="utf-8")).body
        (listed,) = (ast.literal_eval(node.value) for node in nodes if isinstance(node, ast.Assign))
        found[".".join(["captum_shared", *stub.parent.relative_to(PACKAGE).parts])] = listed
    return found


def homes() -> dict[str, str]:
    """The room on whose page each public name is: {'Match': 'captum_shared.attr'}."""
    return {name: room for room, names in reversed(faces().items()) if "." in room for name in names}


class Docstrings(griffe.Extension):
    """The heading 'Example:' is that of an example, roles are links, and equations MathML, which needs no script."""

    def __init__(self) -> None:
        self.homes = homes()

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of whatever was read."""
        if obj.docstring:
            text = re.sub(r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE)
            text = SYMBOLS.sub(lambda maths: convert(maths[1]), EQUATION.sub(_equation, text))
            obj.docstring.value = ROLE.sub(self._link, text)

    def _link(self, role: re.Match[str]) -> str:
        last = role[1].rpartition(".")[2]
        return f"[`{last}`][{self.homes[last]}.{last}]" if last in self.homes else f"`{last}`"


def _equation(block: re.Match[str]) -> str:
    """An equation on lines of its own, which Markdown leaves alone."""
    return f"{block[1]}<div>{convert(' '.join(block[2].split()), display='block')}</div>\n"
