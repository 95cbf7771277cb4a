"""Long tables, one response a row, in Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float64
from numpy import ndarray

from captum_shared.recordings.formats.contents import WINDOW, Contents, Neurons, Window, chosen
from captum_shared.recordings.formats.csv_files import check_columns
from captum_shared.recordings.formats.identifiers import Choice, as_text, chosen_positions
from captum_shared.recordings.formats.long_table import (
    OPTIONAL,
    REQUIRED,
    long_rows,
    parsed_numbers,
    to_presentations,
    told_apart,
)
from captum_shared.recordings.formats.presentations import one_each

_ROWS = 2**15  # in a row group, and read at a time


def read_parquet(path: Path, window: Window = WINDOW, neurons: Choice | None = None) -> Contents:
    """Read a Parquet file with the columns of a long CSV file, some of which pandas may call its index.

    The columns are those of :func:`~captum_shared.recordings.formats.long_table.read_long_csv`. Where only some neurons
    are asked for, the responses of others are not read as far as row groups have none of these: a file in the order of
    the neurons is read fastest.

    Args:
        path: the file.
        window: not used, as there are no spikes.
        neurons: a mask, positions or names of those to read; None: all.

    Returns:
        The means over repetitions, as there.

    Raises:
        ImportError: without pyarrow.
        ValueError: as there, with the number of the row, counted from 1, instead of the line.
    """
    names = _columns(path)
    if neurons is None:
        text, responses = _rows(path, names, None)
        return to_presentations(text, told_apart(text, responses, path), responses).averaged()
    known = _distinct(path, ["neuroid_id"])["neuroid_id"]
    positions = chosen_positions(neurons, tuple(known), "neuron")
    text, responses = _rows(path, names, known.index[positions].tolist())
    shown = _distinct(path, [name for name in names if name not in ("neuroid_id", "region", "subject", "response")])
    for column in ("category", "filename"):
        one_each(shown["stimulus_id"], shown.get(column), column)
    text, responses = _with_all_shown(text, responses, shown)
    contents = to_presentations(text, told_apart(text, responses, path), responses).averaged()
    order = {name: index for index, name in enumerate(contents.neuron_names)}
    row = {name: index for index, name in enumerate(contents.stimulus_ids or ())}
    return Contents(
        **chosen(
            contents,
            images=np.array([row[name] for name in shown["stimulus_id"].drop_duplicates()]),
            neurons=np.array([order[name] for name in known.iloc[positions]]),
        )
    )


def list_parquet(path: Path) -> Neurons:
    """List the neurons of a file that :func:`read_parquet` reads, without their responses.

    Args:
        path: the file.

    Returns:
        What it knows of them.

    Raises:
        ImportError: without pyarrow.
        ValueError: if a column is missing, or a neuron has two regions or subjects.
    """
    table = _distinct(path, [name for name in _columns(path) if name in ("neuroid_id", "region", "subject")])
    names = tuple(dict.fromkeys(table["neuroid_id"]))
    regions, subjects = (one_each(table["neuroid_id"], table.get(column), column) for column in ("region", "subject"))
    return Neurons(neuron_names=names, regions=regions or ("",) * len(names), subjects=subjects or ("",) * len(names))


def write_parquet(path: Path, contents: Contents) -> None:
    """Write a Parquet file that :func:`read_parquet` reads back to the last bit, neuron by neuron.

    Args:
        path: the file.
        contents: what to write; halves are left out, as a table of means has no column for them.

    Raises:
        ImportError: without pyarrow.
    """
    *_, n_images, n_neurons = contents.responses.shape
    n_rows = contents.responses.size
    order = np.arange(n_rows).reshape(-1, n_images, n_neurons).transpose(2, 0, 1).ravel()
    rows = long_rows(contents).iloc[order]
    rows.to_parquet(path, engine="pyarrow", index=False, write_page_checksum=True, row_group_size=_ROWS)


def _columns(path: Path) -> list[str]:
    """The columns that are read of a file, the required ones first."""
    from pyarrow import parquet

    names = parquet.read_schema(path).names
    check_columns(names, REQUIRED, OPTIONAL, f"in {path}")
    return [name for name in (*REQUIRED, *OPTIONAL) if name in names]


def _rows(
    path: Path, names: Sequence[str], neurons: Sequence[Any] | None
) -> tuple[pd.DataFrame, Float64[ndarray, " row"]]:
    """Everything but the responses as text, and the responses; of the neurons with some values of ``neuroid_id``."""
    import pyarrow
    from pyarrow import parquet

    with parquet.ParquetFile(path, page_checksum_verification=True) as file:
        parts = []
        for group in range(file.num_row_groups if neurons is not None else 0):
            own = file.read_row_group(group, columns=["neuroid_id"]).to_pandas()["neuroid_id"].isin(neurons)
            if own.any():
                parts.append(file.read_row_group(group, columns=list(names)).filter(pyarrow.array(own)))
        stored = file.read(columns=list(names)) if neurons is None else pyarrow.concat_tables(parts)
    table = stored.to_pandas(ignore_metadata=True)
    if not len(table):
        raise ValueError(f"Expected at least one row in {path}, got none: export it again.")
    text = _as_text(table[[name for name in names if name != "response"]], path)
    text.index += 1
    numeric = pd.api.types.is_numeric_dtype(table["response"])
    cells = table["response"].set_axis(text.index)
    return text, cells.to_numpy(np.float64, na_value=np.nan) if numeric else parsed_numbers(cells, path)


def _distinct(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """The different rows of some columns as text, in the order of the file; their index is the value of the first."""
    from pyarrow import parquet

    raw = pd.DataFrame(columns=list(names))
    with parquet.ParquetFile(path, page_checksum_verification=True) as file:
        for batch in file.iter_batches(batch_size=_ROWS, columns=list(names)):
            part = batch.to_pandas(ignore_metadata=True)[list(names)].drop_duplicates()
            raw = part if raw.empty else pd.concat([raw, part]).drop_duplicates()
    if raw.empty:
        raise ValueError(f"Expected at least one row in {path}, got none: export it again.")
    return _as_text(raw, path).set_axis(raw.iloc[:, 0].tolist())


def _as_text(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    return pd.DataFrame({name: as_text(table[name], f"{name} in {path}") for name in table}, dtype=object)


def _with_all_shown(
    text: pd.DataFrame, responses: Float64[ndarray, " row"], shown: pd.DataFrame
) -> tuple[pd.DataFrame, Float64[ndarray, " more"]]:
    """Add a missing response of the first neuron to every presentation in which only others were recorded."""
    first = text[text["neuroid_id"] == text["neuroid_id"].iloc[0]]
    keys = [name for name in ("phase", "stimulus_id", "repetition") if name in shown]
    others = shown[~pd.MultiIndex.from_frame(shown[keys]).isin(pd.MultiIndex.from_frame(first[keys]))]
    others = others.drop_duplicates(keys).assign(
        **{name: first[name].iloc[0] for name in ("neuroid_id", "region", "subject") if name in text}
    )
    together = pd.concat([text, others[list(text)]], ignore_index=True)
    return together, np.concatenate([responses, np.full(len(others), np.nan)])
