"""Long tables, one response a row, in CSV files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float64
from numpy import ndarray

from captum_shared.recordings.formats.contents import WINDOW, Contents, Window
from captum_shared.recordings.formats.csv_files import read_csv, write_csv
from captum_shared.recordings.formats.cut_short import check_complete, check_not_doubled
from captum_shared.recordings.formats.presentations import Presentations, check_once, one_each

REQUIRED = ("stimulus_id", "neuroid_id", "response")
OPTIONAL = ("repetition", "phase", "region", "subject", "category", "filename")
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})


def read_long_csv(path: Path, window: Window = WINDOW) -> Contents:
    r"""Read a CSV file with the columns ``stimulus_id, neuroid_id, response``, in any order of rows.

    Optional columns: ``repetition, phase, region, subject, category, filename``. Identifiers are text: ``007`` stays
    ``"007"``. Responses are read to the last bit; an empty cell, ``NaN`` or ``NA`` is a missing one. Rows that repeat
    image, neuron and phase are repetitions in the order of the file, unless there is a column ``repetition``: then no
    two rows may be the same in all four.

    Args:
        path: the file.
        window: not used, as there are no spikes.

    Returns:
        The means over repetitions, images and neurons in the order of their first row.

    Warns:
        UserWarning: if some image has no row for some neuron in some phase, or fewer than another, with the numbers.

    Raises:
        ValueError: if it is no such file or was cut short, a response is no number (with its line), a repetition is
            there twice, or a neuron has two regions or subjects.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a.csv").write_text("stimulus_id,neuroid_id,response\n007,A,1\n007,A,2\n")
        ...     read_long_csv(Path(folder, "a.csv")).responses
        array([[[1.5]]])
    """
    table = read_csv(path, REQUIRED, OPTIONAL)
    responses = parsed_numbers(table["response"], path)
    rows = told_apart(table, responses, path)
    presentations = to_presentations(table, rows, responses)
    check_complete(rows, path)
    return presentations.averaged()


def write_long_csv(path: Path, contents: Contents) -> None:
    """Write a CSV file that :func:`read_long_csv` reads back to the last bit.

    Args:
        path: the file.
        contents: what to write; halves are left out, as a table of means has no column for them.
    """
    write_csv(long_rows(contents), path)


def parsed_numbers(cells: pd.Series, path: Path) -> Float64[ndarray, " row"]:
    """Make numbers out of text.

    Args:
        cells: of the column of responses; the index of a cell is its line.
        path: the file they are from, for messages.

    Returns:
        The numbers, NaN where a cell is empty or says so.

    Raises:
        ValueError: if a cell is no number, with its line.
    """
    numbers = np.empty(len(cells))
    for position, (line, cell) in enumerate(cells.items()):
        text = str(cell).strip()
        try:
            numbers[position] = np.nan if text.lower() in _MISSING else float(text.replace("_", "?"))
        except ValueError:
            raise ValueError(
                f"Expected a number in every cell of the column 'response' of {path}, got {text!r} in line {line}: "
                "correct it, or leave it empty if the response is missing."
            ) from None
    return numbers


def told_apart(table: pd.DataFrame, responses: Float64[ndarray, " row"], path: Path) -> pd.DataFrame:
    """Name what tells the rows of a table apart.

    Args:
        table: one response a row, all else as text.
        responses: one for each row.
        path: the file they are from, for messages.

    Returns:
        Their phase, image, repetition and neuron; repetitions without a number are counted in the order of the rows.

    Raises:
        ValueError: if the table was joined with itself.
    """
    rows = table[[name for name in ("phase", "stimulus_id", "repetition", "neuroid_id") if name in table]]
    if "repetition" in rows:
        return rows
    counted = rows.assign(repetition=rows.groupby(list(rows), sort=False).cumcount().astype(str))
    check_not_doubled(counted, responses, path)
    return counted


def to_presentations(table: pd.DataFrame, rows: pd.DataFrame, responses: Float64[ndarray, " row"]) -> Presentations:
    """Turn the rows of one image, phase and repetition into one presentation.

    Args:
        table: one response a row, all else as text.
        rows: what tells them apart.
        responses: one for each row.

    Returns:
        The presentations in the order of their first row, the neurons in that of theirs.

    Raises:
        ValueError: if a row is there twice, or an image or a neuron has two descriptions.
    """
    neuron, names = pd.factorize(table["neuroid_id"])
    check_once(rows)
    shown = [name for name in rows if name != "neuroid_id"]
    table = table.assign(repetition=rows["repetition"])
    presentation = rows.groupby(shown, sort=False).ngroup().to_numpy()
    matrix = np.full((presentation.max() + 1, len(names)), np.nan)
    matrix[presentation, neuron] = responses
    first = table.iloc[np.unique(presentation, return_index=True)[1]]

    def per_neuron(column: str) -> tuple[str, ...]:
        values = one_each(table["neuroid_id"], table[column], column) if column in table else None
        return values or ("",) * len(names)

    for column in ("category", "filename"):
        one_each(table["stimulus_id"], table.get(column), column)

    def per_presentation(column: str) -> tuple[str, ...] | None:
        return tuple(first[column]) if column in table else None

    return Presentations(
        responses=matrix,
        stimulus_ids=tuple(first["stimulus_id"]),
        neuron_names=tuple(names),
        regions=per_neuron("region"),
        subjects=per_neuron("subject"),
        phases=per_presentation("phase"),
        repetitions=per_presentation("repetition"),
        categories=per_presentation("category"),
        filenames=per_presentation("filename"),
    )


def long_rows(contents: Contents) -> pd.DataFrame:
    """Write one response a row.

    Args:
        contents: halves are left out, as a table of means has no column for them.

    Returns:
        The table, image by image in every phase.
    """
    phase, image, neuron = (axis.ravel() for axis in np.indices(contents.responses.shape))
    columns = {
        "stimulus_id": (contents.stimulus_ids, image),
        "neuroid_id": (contents.neuron_names, neuron),
        "phase": (tuple(str(index + 1) for index in range(len(contents.responses))), phase),
        "region": (contents.regions, neuron),
        "subject": (contents.subjects, neuron),
        "category": (contents.categories, image),
        "filename": (contents.filenames, image),
    }
    table = {name: np.array(values, dtype=object)[index] for name, (values, index) in columns.items() if values}
    return pd.DataFrame({**table, "response": contents.responses.ravel()})
