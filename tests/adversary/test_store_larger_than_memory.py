"""References that are larger than memory: a process that may not have so much finds in them what is there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

resource = pytest.importorskip("resource", reason="limits what a process may have as POSIX does")
pytestmark = pytest.mark.adversary

N_FEATURES = 512
N_REFERENCES = 40_000  # 80 MB; with --budget 50 it is 4 GB
GIB = 2**30

SEARCH = """
import json, sys
import numpy as np, torch
from torch import nn
from captum_shared import LinearReadout, NeuronSimilarity, ReferenceBank

file, n_references, n_features = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

class Stored:
    shape, dtype = (n_references, n_features), np.dtype(np.float32)

    def __getitem__(self, rows):
        first, last, _ = rows.indices(n_references)
        block = np.fromfile(file, self.dtype, (last - first) * n_features, offset=first * n_features * 4)
        return block.reshape(-1, n_features)

weight, images = torch.from_numpy(np.load(sys.argv[4])).float()
similarity = NeuronSimilarity(nn.Identity(), LinearReadout(weight, feature_mean=torch.full((n_features,), 0.1)))
bank = ReferenceBank.from_features(similarity, Stored(), driver_fraction=1.0)
match = bank.search_all(images, top_k=3)
with open("/proc/self/status") as status:  # ru_maxrss would be that of the process that started this one
    peak = next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
print(json.dumps([match.indices.tolist(), peak]))
"""


def write_references(path: Path, images: np.ndarray, n_references: int) -> list[list[int]]:
    """Random features; three of the references of each image are more and more like it, and nothing else is."""
    generator = np.random.default_rng(1)
    planted = [
        [n_references * (3 * row + number) // 100 + 17 * number for number in range(3)] for row in range(len(images))
    ]
    drawn = generator.standard_normal((8192, N_FEATURES), np.float32)
    with path.open("wb") as file:
        for first in range(0, n_references, 8192):
            rows = min(8192, n_references - first)
            block = np.roll(drawn[:rows], first // 8192, axis=1)
            for image, indices in zip(images, planted, strict=True):
                for number, index in enumerate(indices):
                    if first <= index < first + rows:
                        block[index - first] = image + (0.1 + 0.1 * number) * block[index - first]
            file.write(block.tobytes())
    return planted


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
def test_a_store_larger_than_memory_is_searched(tmp_path: Path, budget: int) -> None:
    """By a process that may have 1 GB of its own memory, for PyTorch, the block, and all that it compares."""
    generator = np.random.default_rng(0)
    weight, images = numbers = generator.standard_normal((2, 4, N_FEATURES)).astype(np.float32)
    np.save(tmp_path / "numbers.npy", numbers)
    n_references = N_REFERENCES * budget
    planted = write_references(tmp_path / "features", images, n_references)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            SEARCH,
            tmp_path / "features",
            str(n_references),
            str(N_FEATURES),
            tmp_path / "numbers.npy",
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (GIB, GIB)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    indices, peak = json.loads(done.stdout)
    assert indices == [[own] * len(weight) for own in planted]
    assert peak < 1024, "MiB resident at most"


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")
def test_the_limit_is_one(tmp_path: Path) -> None:
    """What holds all references at once does not run within it."""
    program = "import numpy; numpy.zeros(2**30, dtype=numpy.uint8)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (GIB, GIB)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "MemoryError" in done.stderr
