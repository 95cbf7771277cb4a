"""The types that users see: a client is checked by mypy as they would, outside of this repository."""

import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

CLIENT = Path(__file__).parent / "typed_client.py"


def test_a_typed_client_passes_and_sees_no_any(tmp_path: Path) -> None:
    package = Path(str(files("captum_shared")))
    assert (package / "py.typed").is_file()
    (tmp_path / "client.py").write_text(CLIENT.read_text(encoding="utf-8"), encoding="utf-8")
    options = ["--strict", "--config-file=", "--follow-imports=silent", "--cache-dir", str(tmp_path / "cache")]
    command = [sys.executable, "-m", "mypy", *options, "client.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    revealed = re.findall(r'Revealed type is "(.*)"', done.stdout)
    assert len(revealed) == CLIENT.read_text(encoding="utf-8").count("    reveal_type(")
    assert [each for each in revealed if re.search(r"\bAny\b", each)] == []
