"""Tables of text in CSV files, every cell with its line."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from captum_shared.recordings.formats.cut_short import check_line_end
from captum_shared.recordings.formats.identifiers import meant


def read_csv(path: Path, required: Sequence[str], optional: Sequence[str]) -> pd.DataFrame:
    r"""Read the known columns of a CSV file as text, exactly as it is written: ``007`` stays ``"007"``.

    Args:
        path: a comma-separated UTF-8 file whose first line names the columns, and whose last line ends; empty lines are
            skipped.
        required: columns that have to be there.
        optional: columns that are read where they are there; others are left out.

    Returns:
        One row of strings per row of the file, without the blanks after commas; the index is the line in the file.

    Raises:
        ValueError: if it is no such file or was cut short, a column is missing or there twice, a row has too few or too
            many cells, or there is no row.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "stimuli.csv").write_text("stimulus_id,colour,category\n007,red,body\n")
        ...     read_csv(Path(folder, "stimuli.csv"), ["stimulus_id"], ["filename", "category"])
          stimulus_id category
        2         007     body
    """
    rows, lines = [], []
    try:
        text = path.read_bytes().decode("utf-8-sig")
        check_line_end(text, path)
        reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
        header = [name.strip() for name in next(reader, [])]
        check_columns(header, required, optional, f"in the first line of {path}, separated by commas")
        keep = [header.index(name) for name in (*required, *optional) if name in header]
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise ValueError(
                    f"Expected {len(header)} cells in every line of {path}, got {len(row)} in line "
                    f"{reader.line_num}: complete the file, or quote cells that contain commas."
                )
            rows.append([row[column] for column in keep])
            lines.append(reader.line_num)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"Expected a comma-separated UTF-8 file at {path}, got: {error}. Export it again.") from error
    if not rows:
        raise ValueError(f"Expected rows below the header of {path}, got none.")
    return pd.DataFrame(rows, columns=[header[column] for column in keep], index=lines, dtype=object)


def check_columns(columns: list[str], required: Sequence[str], optional: Sequence[str], where: str) -> None:
    """Refuse a table that lacks a column, or has one that nobody reads but that is probably meant as one that is read.

    Args:
        columns: of the table.
        required: those that have to be there.
        optional: those that are read where they are there.
        where: where they are, for the message.

    Raises:
        ValueError: if a required one is missing, one is there twice, or a name is close to one that is missing.

    Example:
        >>> check_columns(["response", "Phases"], ["response"], ["phase"], "in a.csv")
        Traceback (most recent call last):
        ValueError: Expected the column phase in a.csv under this name, got 'Phases': rename it, or give it a name of
        its own if it is something else.
    """
    missing = [name for name in required if name not in columns]
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if missing or repeated:
        raise ValueError(
            f"Expected the columns {', '.join(required)} once each {where}, got {_listed(columns) or 'nothing'}: "
            f"{_remedy(columns, missing)}."
        )
    known = [*required, *optional]
    others = [name for name in columns if name not in known]
    for name, right in meant(others, [name for name in known if name not in columns]).items():
        raise ValueError(
            f"Expected the column {right} {where} under this name, got {name!r}: rename it, or give it a name of its "
            "own if it is something else."
        )


def _remedy(header: list[str], missing: list[str]) -> str:
    """What to do about the names of columns: another table than this may have been meant."""
    if len(header) == 1 and ";" in header[0]:
        return "export it with commas in place of semicolons, and points in numbers"
    if "neuroid_id" not in missing or "stimulus_id" not in header:
        close = meant(header, missing)
        return ", ".join(f"rename {name!r} to {right}" for name, right in close.items()) or "rename them"
    if {"filename", "category"} & {*header}:
        return "this is a table of images, which belongs to a recording (stimuli=)"
    return (
        "write one response a row, in pandas with table.melt('stimulus_id', var_name='neuroid_id', "
        "value_name='response')"
    )


def _listed(header: list[str]) -> str:
    return ", ".join(header[:20]) + (f", ... ({len(header)} in all)" if len(header) > 20 else "")


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table so that :func:`read_csv` gives back the same text, and the same numbers to the last bit.

    Args:
        table: columns of text, which is quoted, and of numbers; NaN becomes an empty cell.
        path: the file.
    """
    table.to_csv(path, index=False, encoding="utf-8", quoting=csv.QUOTE_NONNUMERIC)
