"""What every benchmark leaves behind: a JSON file with its results, the machine, and versions."""

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch


def write_report(path: Path, report: Mapping[str, Any], packages: Sequence[str]) -> None:
    """Write a report with the machine and the versions of packages, under a temporary name first."""
    machine = {
        "processor": platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
    }
    versions = {package: importlib.metadata.version(package) for package in packages}
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(
        json.dumps({**report, "machine": machine, "versions": versions}, indent=2) + "\n", encoding="utf-8"
    )
    temporary.replace(path)
