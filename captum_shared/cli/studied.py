"""What ``captum-shared study`` runs and writes."""

from typing import Any

import typer

from captum_shared._engine import engine_by_name
from captum_shared.cli.asked import remember
from captum_shared.cli.prepared import Prepared
from captum_shared.cli.summary import name_of, print_summary
from captum_shared.figures.study import write_figures
from captum_shared.report.study import keep_study_report
from captum_shared.study.result import StudyResult
from captum_shared.study.run import run_study


def run(ready: Prepared, asked: dict[str, Any]) -> None:
    """Run a study with each of its networks, and draw its figures.

    Args:
        ready: all that it needs.
        asked: what was asked for, for the record.
    """
    options, results = ready.options, list[StudyResult]()
    gpus = options.device.startswith("cuda")
    with engine_by_name(options.engine, address=options.address, workers=options.workers, gpus=gpus) as engine:
        for network in ready.networks:
            results.append(
                run_study(
                    ready.recording,
                    network.encoder,
                    ready.settings,
                    output=network.output,
                    model=network.name,
                    resume=options.resume,
                    pairs_of=results[0] if results else None,
                    store=network.store,
                    skip_bad=options.skip_bad,
                    engine=engine,
                    behaviour=ready.behaviour,
                )
            )
    output, names = options.output, [name_of(result) for result in results]
    print_summary(results, names)
    written = write_figures(results, names, output / "figures", method=options.show, figure_format=options.figures)
    pages = [] if options.no_report else [keep_study_report(result) for result in results]
    made = [result.map_file.parent.relative_to(output).as_posix() for result in results]
    remember(output, asked, [*made, "figures"])
    typer.echo(f"Wrote study.json, maps.npz, readout.safetensors and {len(written)} figures to {output}.")
    for page in pages:
        typer.echo(f"To look at: {page.absolute().as_uri()}")
