"""The gallery: a picture of every tutorial and of every figure function, with the code that made it."""

import json
from collections.abc import Iterator
from pathlib import Path

from notebooks import picture_of

FIGURES = {
    "pair_figure": "A pair under the maps of any methods",
    "known_pair_figure": "A pair of which the answer is known",
    "components_figure": "Which part matches which",
    "counterpart_figure": "Where one point is found",
    "pair_panels_figure": "The pairs of a region",
    "faint_figure": "Objects with and without a counterpart",
    "encoding_figure": "How well neurons are predicted",
    "response_figure": "Responses to what is shown",
    "architectures_figure": "The same pairs, by several networks",
    "integrated_gradients_figure": "Gradients and Integrated Gradients",
    "concordance_figure": "Subjects or regions compared",
    "behaviour_figure": "A behavioural measure",
    "benchmark_figure": "Scores of all methods",
    "preferences_figure": "What drives neurons that prefer a category",
}


def told_gallery(root: Path) -> str:
    """HTML and Markdown of both halves of the gallery."""
    tutorials = [
        (picture_of(root / "tutorials", path.stem), _title(path), f"../tutorials/{path.name}")
        for path in sorted((root / "tutorials").glob("*.ipynb"))
    ]
    figures = [
        (f"pictures/{name}.webp", title, f"reference/figures.md#captum_shared.figures.{name}")
        for name, title in FIGURES.items()
    ]
    return "\n".join(["## Tutorials\n", *_grid(tutorials), "\n## Figures\n", *_grid(figures)])


def _grid(entries: list[tuple[str, str, str]]) -> Iterator[str]:
    yield '<div class="gallery" markdown>\n'
    for picture, title, link in entries:
        name = link.rpartition(".")[2]
        code = f"[code]({link[:-6]}.py)" if name == "ipynb" else f"`{name}`, [code](_site/pictures.py)"
        yield f"<figure markdown>\n[![{title}]({picture})]({link})\n"
        yield f"<figcaption markdown>[{title}]({link}), {code}</figcaption>\n</figure>\n"
    yield "</div>\n"


def _title(notebook: Path) -> str:
    """The heading of a notebook."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    lines = [line for cell in cells for line in cell["source"] if line.startswith("# ")]
    return str(lines[0]).removeprefix("# ").strip()
