"""Files that were cut short: refused by name, told with numbers, or the same as before; never others in silence.

Every offset of every kind of text, and as many as the budget has of the other formats.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from captum_shared.recordings import FORMATS, Recording
from captum_shared.recordings.formats.table import Format
from captum_shared.synthetic import simulate_recording

pytestmark = [pytest.mark.adversary, pytest.mark.usefixtures("as_installed")]
LOOPS = {
    "stimulus_id": ("hand", "cup", "face", "arm"),
    "neuroid_id": ("A", "B", "C"),
    "phase": ("1", "2"),
    "repetition": ("1", "2", "3"),
}
FURTHER = {"region": {"A": "IT", "B": "V4", "C": "IT"}, "category": dict.fromkeys(LOOPS["stimulus_id"], "body, part")}


def outcome(file: Path, whole: Recording, **options: bool) -> str:
    """What comes of reading a file: "refused" by name, "told" by name, "same" as the whole one, or "different"."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            read = Recording.load(file, **options)
        except ValueError as error:
            return "refused" if file.name in str(error) or "stimuli.csv" in str(error) else f"unnamed: {error}"
    if any(re.search(rf"{file.name} .*\d (of|to) (the )?\d.* cut short", str(warning.message)) for warning in told):
        return "told"
    names = ("stimulus_ids", "categories", "neuron_names", "regions", "subjects")
    same = all(getattr(read, name) == getattr(whole, name) for name in names)
    return "same" if same and read.responses.tobytes() == whole.responses.tobytes() else "different"


def long_table(loops: tuple[str, ...], *, further: bool, end: str, quoted: bool) -> str:
    """A table that counts through the loops, the first of them outermost."""
    rows = [dict(zip(loops, turn, strict=True)) for turn in itertools.product(*(LOOPS[name] for name in loops))]
    for number, row in enumerate(rows):
        row["response"] = f"{1.5 * number + 48:.3f}"
        if further:
            row["region"], row["category"] = (
                FURTHER["region"][row["neuroid_id"]],
                FURTHER["category"][row["stimulus_id"]],
            )
    text = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    writer = csv.DictWriter(text, fieldnames=[*rows[0]], lineterminator=end, quoting=quoting)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def complete(text: str) -> bool:
    """Whether the rows are all there can be of the labels in them, so that nothing tells that there were others."""
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    labels = [{row[name] for row in rows} for name in LOOPS if name in rows[0]] if rows else []
    return len(rows) == math.prod(map(len, labels))


@pytest.mark.parametrize(
    ("loops", "further", "end", "quoted"),
    [
        (("stimulus_id", "neuroid_id"), False, "\n", False),
        (("neuroid_id", "stimulus_id"), False, "\r\n", False),
        (("phase", "stimulus_id", "neuroid_id"), True, "\n", True),
        (("stimulus_id", "phase", "neuroid_id"), False, "\r", False),
        (("stimulus_id", "neuroid_id", "repetition"), True, "\n", False),
        (("repetition", "stimulus_id", "neuroid_id"), False, "\n", False),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else repr(value),
)
def test_a_long_table_cut_at_every_offset(
    tmp_path: Path, loops: tuple[str, ...], further: bool, end: str, quoted: bool
) -> None:
    """Whole rounds of the outermost loop may be all there is, unless a table says that there are more images."""
    text = long_table(loops, further=further, end=end, quoted=quoted)
    alone, beside = tmp_path / "r.csv", tmp_path / "beside" / "r.csv"
    beside.parent.mkdir()
    (tmp_path / "beside" / "stimuli.csv").write_text("\n".join(["stimulus_id", *LOOPS["stimulus_id"], ""]))
    alone.write_text(text, newline="")
    whole, outcomes = Recording.load(alone), Counter()
    assert whole.responses.size == 12 * (2 if "phase" in loops else 1)
    for kept in range(len(text)):
        alone.write_text(text[:kept], newline="")
        came = outcome(alone, whole)
        outcomes[came] += 1
        if came == "same":
            assert text[kept:].strip() == ""
        elif came not in ("refused", "told"):
            assert complete(text[:kept])
        if came == "different" and loops[0] == "stimulus_id":
            beside.write_text(text[:kept], newline="")
            assert outcome(beside, whole) == "told"
    assert outcomes["refused"] > 0.9 * len(text)
    assert outcomes["different"] < 12


def test_rows_in_random_order_cut_after_each(tmp_path: Path) -> None:
    """Numbered repetitions; what is silent was all there could be, as far as the labels go."""
    header, *rows = long_table(tuple(LOOPS), further=False, end="\n", quoted=False).splitlines(keepends=True)
    rows = [rows[index] for index in np.random.default_rng(0).permutation(len(rows))]
    outcomes = Counter()
    (tmp_path / "r.csv").write_text("".join([header, *rows]))
    whole = Recording.load(tmp_path / "r.csv")
    for kept in range(1, len(rows)):
        text = "".join([header, *rows[:kept]])
        (tmp_path / "r.csv").write_text(text)
        came = outcome(tmp_path / "r.csv", whole)
        outcomes[came] += 1
        assert came == "told" or complete(text)
    assert outcomes["told"] > 0.9 * len(rows)


def test_a_table_of_images_cut_at_every_offset(tmp_path: Path) -> None:
    """The recording has responses to all of them, so that none can be missing."""
    text = "stimulus_id,filename,category\n" + "".join(f"{name},{name}.png,body\n" for name in LOOPS["stimulus_id"])
    np.savez(tmp_path / "r.npz", responses=np.arange(12.0).reshape(4, 3), stimulus_id=LOOPS["stimulus_id"])
    (tmp_path / "stimuli.csv").write_text(text)
    whole = Recording.load(tmp_path / "r.npz")
    outcomes = Counter()
    for kept in range(len(text)):
        (tmp_path / "stimuli.csv").write_text(text[:kept])
        outcomes[outcome(tmp_path / "r.npz", whole)] += 1
    assert outcomes == {"refused": len(text)}


def test_a_table_of_one_column_a_neuron_is_never_read(tmp_path: Path) -> None:
    """Whole or cut: after the first cells of its header it is another table."""
    text = "stimulus_id,A,B,response\n" + "".join(f"{name},1.5,20.25,3.125\n" for name in LOOPS["stimulus_id"])
    for kept in range(len(text) + 1):
        (tmp_path / "r.csv").write_text(text[:kept])
        with pytest.raises(ValueError, match=r"Expected .*r\.csv"):
            Recording.load(tmp_path / "r.csv")


@pytest.mark.parametrize("each", [each for each in FORMATS if not each.folder], ids=lambda each: each.extensions[0])
def test_every_format_cut_at_many_offsets(tmp_path: Path, each: Format, budget: int) -> None:
    file = simulated(tmp_path, each)
    options = {"by_row": True} if each.extensions[0] == ".npy" else {}
    content, whole = file.read_bytes(), Recording.load(file, **options)
    offsets = np.unique(np.linspace(0, len(content) - 1, 12 * budget).astype(int))
    outcomes = Counter()
    for kept in [*offsets, *range(max(0, len(content) - 4), len(content))]:
        file.write_bytes(content[:kept])
        outcomes[outcome(file, whole, **options)] += 1
    assert set(outcomes) <= {"refused", "told", "same"}
    assert outcomes["refused"] > 0.8 * outcomes.total()


def simulated(folder: Path, each: Format) -> Path:
    """A small recording in any format, with the table of its images."""
    if each.write or each.write_spikes:
        return simulate_recording(
            folder / "new", format=each.extensions[0][1:], n_neurons=3, n_creatures=3, n_artefacts=2, seed=1
        )
    file = folder / f"r{each.extensions[0]}"
    np.save(file, np.arange(15.0).reshape(5, 3))
    (folder / "stimuli.csv").write_text("stimulus_id\na\nb\nc\nd\ne\n")
    return file
