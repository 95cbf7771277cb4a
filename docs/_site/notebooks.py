"""The tutorials as pages, with the pictures that their cells drew; nothing is executed."""

from __future__ import annotations

import functools
import io
import re
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter
from PIL import Image

PRINTED = re.compile(r"(?:^    .*\n(?:\s*\n(?=    ))*)+", re.MULTILINE)
ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@functools.cache
def tutorial_pages(folder: Path) -> tuple[tuple[str, str | bytes], ...]:
    """Name and content of a page a notebook, and of each of its pictures."""
    made: list[tuple[str, str | bytes]] = []
    for path in sorted(folder.glob("*.ipynb")):
        resources = {"output_files_dir": f"{path.stem}_files", "unique_key": path.stem}
        body, found = MarkdownExporter().from_notebook_node(nbformat.read(path, as_version=4), resources=resources)
        script = f"[The same as a script](../tutorials/{path.stem}.py)"
        title, _, rest = ESCAPES.sub("", body).partition("\n")
        made.append((f"tutorials/{path.stem}.md", f"{title}\n\n{script}.\n{_fenced(rest)}"))
        made.extend((f"tutorials/{name}", content) for name, content in found["outputs"].items())
    return tuple(made)


def picture_of(folder: Path, notebook: str) -> str:
    """The picture of a tutorial in the gallery: the largest that it draws."""
    drawn = {
        name: Image.open(io.BytesIO(content)).size
        for name, content in tutorial_pages(folder)
        if name.startswith(f"tutorials/{notebook}_files/") and isinstance(content, bytes)
    }
    return max(drawn, key=lambda name: drawn[name][0] * drawn[name][1])


def _fenced(text: str) -> str:
    """Printed output, which nbconvert indents by four spaces, in fences; and pictures with a text for the blind."""
    parts = re.split(r"(^```.*?^```$)", text, flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [PRINTED.sub(_fence, part) for part in parts[::2]]
    return (
        "".join(parts)
        .replace("![png]", "![What the code above draws]")
        .replace("![jpeg]", "![What the code above draws]")
    )


def _fence(block: re.Match[str]) -> str:
    lines = [line.removeprefix("    ") for line in block[0].rstrip().split("\n")]
    return "\n```text\n" + "\n".join(lines) + "\n```\n"
