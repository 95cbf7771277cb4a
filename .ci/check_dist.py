"""Checks a wheel and an sdist: what is in them, and how large they are. Sizes are told."""

import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MEGABYTE = 1e6
LARGEST = {".whl": 2.5, ".gz": 20.0}  # MB: the package alone; with tests, results, pictures and notebooks
BESIDE = ("README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "tests", "docs", "tutorials")


def check_wheel(path: Path) -> None:
    """All files of the package and its licence are in it, and nothing else."""
    names = {name for name in zipfile.ZipFile(path).namelist() if not name.endswith("/")}
    own = {name for name in names if name.startswith("captum_shared/")}
    expected = {
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "captum_shared").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    if own != expected:
        sys.exit(f"{path.name} should have the files of the package; missing or too many: {sorted(own ^ expected)}")
    if not {"captum_shared/py.typed", "captum_shared/encoders/embedded.safetensors"} <= own:
        sys.exit(f"{path.name} should have types and weights")
    described = {name.split("/", 1)[1] for name in names - own if ".dist-info/" in name}
    if len(described) < len(names - own) or "licenses/LICENSE" not in described:
        sys.exit(f"{path.name} should have nothing beside the package but its description, got {sorted(names - own)}")


def check_sdist(path: Path) -> None:
    """What is needed to build, test and cite it is in it."""
    with tarfile.open(path) as archive:
        names = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    if missing := sorted({*BESIDE, "captum_shared", "pyproject.toml"} - names):
        sys.exit(f"{path.name} should have {', '.join(missing)}")


def check_size(path: Path) -> None:
    """It is no larger than it should be."""
    size, largest = path.stat().st_size / MEGABYTE, LARGEST[path.suffix]
    if size > largest:
        sys.exit(f"{path.name} has {size:.2f} MB, and should have {largest} at most")
    print(f"{path.name}: {size:.2f} MB")


(wheel,) = Path(sys.argv[1]).glob("*.whl")
(sdist,) = Path(sys.argv[1]).glob("*.tar.gz")
check_wheel(wheel)
check_sdist(sdist)
for each in (wheel, sdist):
    check_size(each)
