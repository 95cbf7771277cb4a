from pathlib import Path

import pytest
from toy_experiment import recorded

from captum_shared.recordings.recording import Recording


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return recorded(tmp_path / "images")
