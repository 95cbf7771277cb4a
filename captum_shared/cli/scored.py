"""What ``captum-shared benchmark`` runs, prints and writes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
import typer

from captum_shared._record import keep
from captum_shared._resuming import digest
from captum_shared.evaluation import Extent, Task, run_benchmark
from captum_shared.evaluation.hardest import MAPS
from captum_shared.evaluation.run import RESULT
from captum_shared.figures import save_benchmark
from captum_shared.methods import METHODS, Method, methods_by_name
from captum_shared.report import write_benchmark_report

REPORT: Final = "report.html"


def extent_of(pairs: int, controls: int, faithful: int, sanity: int) -> Extent:
    """Tell how many pairs to use, and for what.

    Args:
        pairs: all of them.
        controls: how many of these for intensity, like all that follow; more than all are all.
        faithful: for deletion, insertion and infidelity.
        sanity: for the sanity checks.

    Returns:
        The extent.

    Example:
        >>> extent_of(8, 64, 0, 0).controls
        8
    """
    return Extent(pairs, *(min(each, pairs) for each in (controls, faithful, sanity)))


def methods_compared(names: Sequence[str] | None) -> list[Method]:
    """Look up the methods to compare, and tell which are left out.

    Args:
        names: their names; None for all that can run here.

    Returns:
        The methods.

    Raises:
        ImportError: if the package of a method that is named is not installed.
        ValueError: if a name is unknown or given twice.
    """
    compared = methods_by_name(names)
    skipped = [method for method in METHODS.values() if names is None and method not in compared]
    if skipped:
        named = ", ".join(f"{method.name} (by {method.package})" for method in skipped)
        typer.echo(
            f"Left out, as their packages are not installed: {named}. Install them with: pip install "
            "'captum-shared[peers]'.",
            err=True,
        )
    return compared


def run_and_save(
    task: Task,
    compared: list[Method],
    extent: Extent,
    *,
    output: Path,
    resume: bool,
    device: torch.device,
    report: bool,
) -> None:
    """Run a benchmark, print its table, and write all of its files.

    Args:
        task: the task.
        compared: the methods.
        extent: how many pairs.
        output: the folder to write to.
        resume: whether to go on with the benchmark that it holds.
        device: what to compute on.
        report: whether to write its page, too.
    """
    task.similarity.to(device).to(memory_format=torch.channels_last)
    result = run_benchmark(task, [*compared, *task.ceilings], extent=extent, output=output, resume=resume)
    typer.echo(f"{save_benchmark(result, output)}\n\nWrote results.json, table.md and figure.png to {output}.")
    if report:
        save_report(output)


def save_report(output: Path) -> None:
    """Write the page of a benchmark, and tell its address.

    Args:
        output: the folder of the benchmark.
    """
    of = digest([(output / name).read_bytes() for name in (RESULT, MAPS, "figure.png") if (output / name).is_file()])
    keep(output, {REPORT: lambda path: write_benchmark_report(output, path)}, of=of)
    typer.echo(f"Wrote {(output / REPORT).absolute().as_uri()}: open it in a browser.")
