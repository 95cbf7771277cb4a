"""The layout of the package: which room imports from which, public faces, names, and documented examples."""

import ast
import doctest
import functools
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import captum_shared

PACKAGE = Path(captum_shared.__file__).parent
ARCHITECTURE = Path(__file__).parents[1] / "docs" / "architecture.md"

_ATTR = ("ground", "encoders", "neurons")
_METHODS = (*_ATTR, "attr")
ROOMS = {  # what each room may import from, besides itself; docs/architecture.md has the same table
    "ground": (),
    "encoders": ("ground",),
    "neurons": ("ground",),
    "recordings": ("ground",),
    "synthetic": ("ground", "encoders", "neurons", "recordings"),
    "attr": _ATTR,
    "methods": _METHODS,
    "study": (*_METHODS, "methods", "recordings"),
    "evaluation": (*_METHODS, "methods", "recordings", "synthetic"),
}
ROOMS["figures"] = (*ROOMS,)
ROOMS["report"] = (*ROOMS,)
ROOMS["cli"] = (*ROOMS,)
_FILES = ("_files", "_image_files", "_occupied", "_progress", "_reading", "_record", "_resuming")
GROUND = ("images", "_cluster", "_engine", "_ray", *_FILES)
LONGEST = 320


def files_of(package: Path) -> list[Path]:
    return sorted(path for path in package.rglob("*.py") if path != package / "__init__.py")


FILES = files_of(PACKAGE)
NAMES = [str(path.relative_to(PACKAGE)) for path in FILES]


def module_of(path: Path, package: Path = PACKAGE) -> str:
    """Dotted name of a file within the package: 'attr.places', or 'attr' for the face of a room."""
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def room_of(module: str) -> str:
    first = module.split(".")[0]
    return "ground" if first in GROUND else "cli" if first == "__main__" else first


def faces(package: Path) -> dict[str, str]:
    """The module that each public name of the package is from, by its stub: {'LatentFeatures': 'encoders'}."""
    stub = package / "__init__.pyi"
    nodes = import_statements(stub.read_text(encoding="utf-8")) if stub.exists() else ()
    return {alias.name: node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}


@functools.cache
def import_statements(source: str) -> tuple[ast.Import | ast.ImportFrom, ...]:
    return tuple(node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom))


def imports(source: str, path: Path, package: Path) -> Iterator[str]:
    """Dotted names within the package that code imports, wherever in it; a public name by where it is from."""
    own = ["captum_shared", *path.relative_to(package).parent.parts]
    public = faces(package)
    for node in import_statements(source):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        else:
            above = own[: len(own) - node.level + 1] if node.level else []
            name = ".".join([*above, *([node.module] if node.module else [])])
            inside = package.joinpath(*name.split(".")[1:])
            own_names = public if name == "captum_shared" else {}
            found = [
                f"{name}.{own_names.get(alias.name, alias.name)}"
                if name == "captum_shared" or _is_module(inside / alias.name)
                else name
                for alias in node.names
            ]
        for name in found:
            if name.split(".")[0] == "captum_shared":
                yield name.removeprefix("captum_shared").removeprefix(".")


def _is_module(path: Path) -> bool:
    return (path.is_dir() and (path / "__init__.py").exists()) or path.with_suffix(".py").is_file()


@functools.cache
def doctests(source: str) -> str:
    """The code of all examples in the docstrings of a file."""
    parser = doctest.DocTestParser()
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, documented))
    docstrings = (ast.get_docstring(node) or "" for node in nodes)
    return "".join(example.source for text in docstrings for example in parser.get_examples(text))


def wrong_imports(path: Path, package: Path = PACKAGE) -> list[str]:
    """What a file imports from where its room may not, in its code and in the examples of its docstrings."""
    own = module_of(path, package)
    room, source = room_of(own), path.read_text(encoding="utf-8")
    if room not in ROOMS:
        return [f"{own} is in no room"]
    wrong = [
        f"{own} imports {name or 'the package itself'}"
        for name in [*imports(source, path, package), *imports(doctests(source), path, package)]
        if room_of(name) not in (room, *ROOMS[room])
    ]
    shortcuts = re.findall(r"^\s*(?:from captum_shared import|import captum_shared\b).*", source, re.MULTILINE)
    return wrong + [f"{own} imports names of the package, not of their room: {line}" for line in shortcuts]


def strangers(package: Path = PACKAGE) -> list[str]:
    """Modules that have no business in their room: not in its face, and imported by nothing in it."""
    used = set()
    for path in files_of(package):
        own = module_of(path, package)
        inside = imports(path.read_text(encoding="utf-8"), path, package)
        used |= {name for name in inside if name != own and room_of(name) == room_of(own)}
    for stub in package.rglob("*.pyi"):
        used |= set(imports(stub.read_text(encoding="utf-8"), stub, package))
    ground = {module_of(path, package) for path in files_of(package) if path.parent == package}
    modules = {module_of(path, package) for path in files_of(package) if path.name != "__init__.py"}
    return sorted(modules - used - (ground & {*GROUND, "__main__"}))


def layout_faults(package: Path) -> list[str]:
    """Everything that is wrong with where the modules of a package stand."""
    missing = [
        f"{stub.relative_to(package)} names {name}, which is no module"
        for stub in package.rglob("*.pyi")
        for name in imports(stub.read_text(encoding="utf-8"), stub, package)
        if name and not _is_module(package.joinpath(*name.split(".")))
    ]
    wrong = [fault for path in files_of(package) for fault in wrong_imports(path, package)]
    return [*wrong, *missing, *(f"{module} serves nothing in its room" for module in strangers(package))]


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_imports_only_from_where_its_room_may(path: Path) -> None:
    assert wrong_imports(path) == []


def test_every_module_serves_its_room() -> None:
    assert layout_faults(PACKAGE) == []


@pytest.mark.parametrize(
    ("module", "room"),
    [
        ("attr/places", "encoders"),
        ("encoders/twins", "attr"),
        ("neurons/noise", "recordings"),
        ("methods/sampling", "evaluation"),
        ("figures/overlay", "cli"),
        ("study/correlation", "attr"),
        ("evaluation/scores/intervals", "methods"),
        ("recordings/formats/csv_files", "synthetic"),
        ("synthetic/parts", "neurons"),
        ("images", "encoders"),
    ],
)
def test_a_module_in_another_room_is_found(tmp_path: Path, module: str, room: str) -> None:
    """A file is moved, and every import of it follows."""
    package = tmp_path / "captum_shared"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    assert layout_faults(package) == []
    old, new = "captum_shared." + module.replace("/", "."), f"captum_shared.{room}.{module.split('/')[-1]}"
    shutil.move(package / f"{module}.py", package / room / f"{module.split('/')[-1]}.py")
    for path in package.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        path.write_text(re.sub(rf"{re.escape(old)}\b", new, source), encoding="utf-8")
    assert layout_faults(package) != []


def test_the_rule_finds_what_it_forbids(tmp_path: Path) -> None:
    package = tmp_path / "captum_shared"
    shutil.copytree(PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    path = package / "neurons" / "readout.py"
    source = path.read_text(encoding="utf-8")
    for forbidden in (
        "import captum_shared.attr.similarity",
        "from captum_shared import attr",
        "from captum_shared.attr.similarity import f",
        "from ..attr.similarity import f",
        "from .. import attr",
        "from captum_shared import LinearReadout",
        "def f():\n    from captum_shared.encoders.features import g",
        'def f():\n    """Do.\n\n    Example:\n        >>> from captum_shared import LatentFeatures\n    """',
        "import captum_shared",
    ):
        path.write_text(f"{source}\n{forbidden}\n", encoding="utf-8")
        assert wrong_imports(path, package), forbidden
    for allowed in ("from captum_shared.images import f", "from .encoding import f", "from .. import images"):
        path.write_text(f"{source}\n{allowed}\n", encoding="utf-8")
        assert wrong_imports(path, package) == [], allowed


def public_code() -> Iterator[tuple[str, str]]:
    """The Python of everything that is written for users: README, pages, tutorials and benchmarks."""
    root = PACKAGE.parent
    for page in [root / "README.md", *sorted((root / "docs").rglob("*.md"))]:
        blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        yield from ((str(page.relative_to(root)), block) for block in blocks)
    for script in [*sorted((root / "tutorials").glob("*.py")), *sorted((root / "benchmarks").glob("*.py"))]:
        yield str(script.relative_to(root)), script.read_text(encoding="utf-8")


def test_what_users_read_imports_from_nowhere_deeper_than_a_room() -> None:
    public = {"", "images", *(room for room in ROOMS if room != "ground")}
    imported = [
        (name, node.module if isinstance(node, ast.ImportFrom) else alias.name)
        for name, source in public_code()
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]
    ours = [(name, module) for name, module in imported if module and module.split(".")[0] == "captum_shared"]
    assert len(ours) > 20
    assert [
        (name, module) for name, module in ours if module.removeprefix("captum_shared").lstrip(".") not in public
    ] == []


def test_the_architecture_page_has_the_same_rooms() -> None:
    rows = re.findall(r"^\| `?(\w+)/?`? \|.*\| ([^|]*) \|$", ARCHITECTURE.read_text(encoding="utf-8"), re.MULTILINE)
    told = {room: {name.strip(" `/") for name in allowed.split(",")} - {"nothing"} for room, allowed in rows}
    assert {room: told.get(room) for room in ROOMS} == {room: set(allowed) for room, allowed in ROOMS.items()}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_is_named_for_what_is_in_it_and_not_too_long(path: Path) -> None:
    assert path.stem not in ("utils", "util", "helpers", "common", "misc", "tools")
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST, f"{lines} lines: aim for 300, split by concept"


@pytest.mark.parametrize("stub", sorted(PACKAGE.rglob("*.pyi")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_face_lists_its_names_and_hides_no_module(stub: Path) -> None:
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    names = [alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names]
    (listed,) = (ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign))
    assert sorted(listed) == sorted(names)  # in what order, the linter sees to
    assert not [name for name in names if (stub.parent / f"{name}.py").exists()], "a module would take the name's place"


@pytest.mark.parametrize("name", captum_shared.__all__)
def test_every_public_name_has_a_docstring_with_an_example(name: str) -> None:
    documentation = inspect.getdoc(getattr(captum_shared, name)) or ""
    assert "Example:\n" in documentation
    assert ">>> " in documentation


def test_what_is_heavy_is_imported_only_when_it_is_used() -> None:
    program = (
        "import sys, captum_shared\n"
        "light = set(sys.modules)\n"
        "from captum_shared import LatentFeatures, NeuronSimilarity, ParallelSharedAttribution, LinearReadout\n"
        "print([name for name in ('torch', 'captum') if name in light])\n"
        "print([name for name in ('pandas', 'sklearn', 'scipy.stats') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]
