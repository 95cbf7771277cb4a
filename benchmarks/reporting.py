"""What every benchmark leaves behind: a JSON file, written whole or not at all."""

import json
from pathlib import Path
from typing import Any


def write_json(path: Path, report: Any) -> None:
    """Write a report under a temporary name first."""
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)
