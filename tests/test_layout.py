"""The layout of the package: floors of imports, names, and docstrings with executed examples."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import captum_shared

PACKAGE = Path(captum_shared.__file__).parent
FLOORS = {
    "files": 0,
    "resuming": 0.5,
    "twins": 0,
    "pooling": 0,
    "cutting": 0.5,
    "checkpoints": 0,
    "estimators": 0,
    "pairs": 0,
    "_captum": 1,
    "images": 1,
    "formats": 1.5,
    "features": 1,
    "readout": 1,
    "heatmaps": 1,
    "photographs": 1.5,
    "recordings": 2,
    "encoding": 2,
    "layers": 2,
    "similarity": 2,
    "reliability": 2.5,
    "validation": 2.6,
    "places": 1,
    "projection": 2.5,
    "references": 3,
    "attribution": 3,
    "correspondence": 3,
    "datasets": 3,
    "synthetic": 3,
    "evaluation": 4,
    "study": 4,
    "figures": 5,
    "report": 6,
    "explain": 6,
    "demo": 6,
    "cli": 7,
}
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(path.relative_to(PACKAGE)) for path in FILES]
LONGEST = 320


def module_of(path: Path) -> str:
    """Dotted name of a file within the package: 'synthetic.parts', or '' for the package itself."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> Iterator[str]:
    """Dotted names within the package that a file imports, wherever in it; '' for the package itself."""
    package = ["captum_shared", *path.relative_to(PACKAGE).parent.parts]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            inside = PACKAGE.joinpath(*source.split(".")[1:])
            found = [
                f"{source}.{alias.name}" if inside.is_dir() and _is_module(inside / alias.name) else source
                for alias in node.names
            ]
        else:
            continue
        for name in found:
            if name.split(".")[0] == "captum_shared":
                yield name.removeprefix("captum_shared").removeprefix(".")


def _is_module(path: Path) -> bool:
    return path.is_dir() or path.with_suffix(".py").is_file()


def wrong_imports(path: Path) -> list[str]:
    own = module_of(path)
    floor = FLOORS[own.split(".")[0]]
    siblings = own.split(".")[0] if "." in own else None
    wrong = []
    for name in imports(path):
        top = name.split(".")[0]
        if (siblings and top == siblings) or FLOORS.get(top, 99) < floor:
            continue
        wrong.append(f"{own} (floor {floor}) imports {name or 'the package itself'} (floor {FLOORS.get(top)})")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_imports_only_from_lower_floors(path: Path) -> None:
    if path.stem in ("__init__", "__main__"):
        return
    assert module_of(path).split(".")[0] in FLOORS, f"{path.name} has no floor: give it one in DESIGN.md and here"
    assert wrong_imports(path) == []


def test_the_rule_finds_what_it_forbids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("test_layout.PACKAGE", tmp_path)
    (tmp_path / "synthetic").mkdir()
    for name in ("cutting.py", "features.py", "similarity.py", "synthetic/parts.py", "synthetic/network.py"):
        (tmp_path / name).write_text("")
    features, network = tmp_path / "features.py", tmp_path / "synthetic" / "network.py"
    allowed = (
        "import torch\nfrom captum_shared.cutting import a\nfrom captum_shared import cutting\nfrom . import cutting\n"
    )
    features.write_text(allowed)
    assert wrong_imports(features) == []
    for forbidden in (
        "import captum_shared.similarity",
        "from captum_shared import similarity",
        "from captum_shared.similarity import f",
        "from .similarity import f",
        "from . import similarity",
        "from captum_shared import LatentFeatures",
        "def f():\n    from captum_shared.similarity import g",
        "from captum_shared.features import g",
        "import captum_shared",
    ):
        features.write_text(allowed + forbidden)
        assert len(wrong_imports(features)) == 1, forbidden
    network.write_text("from captum_shared.synthetic.parts import a\nfrom .parts import b\nfrom ..similarity import c")
    assert wrong_imports(network) == []
    network.write_text("from captum_shared.attribution import a")
    assert len(wrong_imports(network)) == 1


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_is_named_for_what_is_in_it_and_not_too_long(path: Path) -> None:
    assert path.stem not in ("utils", "util", "helpers", "common", "misc", "tools")
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST, f"{lines} lines: aim for 300, split by concept"


@pytest.mark.parametrize("name", captum_shared.__all__)
def test_every_public_name_has_a_docstring_with_an_example(name: str) -> None:
    documentation = inspect.getdoc(getattr(captum_shared, name)) or ""
    assert "Example:\n" in documentation
    assert ">>> " in documentation


def test_public_names_are_sorted() -> None:
    assert list(captum_shared.__all__) == sorted(captum_shared.__all__)
