"""No damaged file of any format is taken for a good one where that can be told, or refused without a word of help.

``pytest -m adversary tests/adversary/test_mutants.py --budget 100`` reads 1,200 mutants of each; the table of what
became of them stands at the end, and with ``--counts FILE`` in a file, as JSON.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
from mutants import MUTATORS, mutant
from seeds import SEEDS
from trial import Seed, tried

MUTANTS = 12  # of each format, unless there is a --budget


@pytest.mark.adversary
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name)
def test_mutants(seed: Seed, tmp_path: Path, budget: int, record_property: Callable[[str, object], None]) -> None:
    others = []
    for index, other in enumerate(SEEDS[:: len(SEEDS) // 4]):
        (tmp_path / str(index)).mkdir()
        other.write(tmp_path / str(index))
        others.append((tmp_path / str(index) / other.file).read_bytes())
    (tmp_path / "damaged").mkdir()
    counts = tried(seed, others, range(MUTANTS * budget), tmp_path / "damaged")
    record_property("mutants", (seed.name, dict(counts.outcomes)))
    assert counts.outcomes.total() == MUTANTS * budget
    assert counts.faults == []


def test_the_same_index_is_the_same_damage_and_no_damage_is_none() -> None:
    content, other = bytes(range(256)) * 20, b"other" * 999
    for index in range(90):
        damage, damaged = mutant(content, other, index)
        assert (damage, damaged) == mutant(content, other, index)
        assert damage == MUTATORS[index % len(MUTATORS)].__name__
    assert sum(mutant(content, other, index)[1] == content for index in range(90)) < 9
