"""``captum-shared study``: a recording, and the figures of the paper for it."""

from pathlib import Path
from typing import Any

import typer

from captum_shared._files import check_place
from captum_shared._record import Record
from captum_shared.cli.app import app, told
from captum_shared.cli.asked import asked_for, holds_what_is_asked_for
from captum_shared.cli.choices import Address, EngineName, MaxPixels, SkipBad, Workers
from captum_shared.cli.configured import Config
from captum_shared.cli.study_options import (
    AllNeurons,
    AllowOutside,
    Behaviour,
    ByRow,
    Check,
    Device,
    Dissimilar,
    DriverFraction,
    Figures,
    Folds,
    FollowLinks,
    Images,
    Layers,
    Methods,
    Models,
    Neurons,
    NoReport,
    Output,
    Pooling,
    Preferred,
    Regions,
    Responses,
    Resume,
    Seed,
    Show,
    SkipMissing,
    Stimuli,
    Stores,
    Strong,
    Weak,
    Weights,
    Window,
)
from captum_shared.cli.summary import name_of, print_summary
from captum_shared.study.result import StudyResult


@app.command(
    epilog="Example, after captum-shared simulate --output world: captum-shared study world/recording.nc --images "
    "world/images --preferred creature --model embedded --layer features --output study"
)
@told
def study(
    recording: Responses,
    images: Images,
    preferred: Preferred,
    model: Models,
    layer: Layers,
    output: Output,
    config: Config = None,
    check: Check = False,
    weights: Weights = None,
    pool: Pooling = "average",
    stimuli: Stimuli = None,
    by_row: ByRow = False,
    skip_missing: SkipMissing = False,
    allow_outside: AllowOutside = False,
    follow_links: FollowLinks = False,
    neurons: Neurons = None,
    region: Regions = None,
    features: Stores = None,
    skip_bad: SkipBad = False,
    max_pixels: MaxPixels = None,
    window: Window = (0.05, 0.25),
    strong: Strong = 2,
    dissimilar: Dissimilar = 1,
    weak: Weak = 1,
    driver_fraction: DriverFraction = 0.25,
    method: Methods = None,
    all_neurons: AllNeurons = False,
    behaviour: Behaviour = None,
    show: Show = None,
    folds: Folds = 10,
    seed: Seed = 0,
    device: Device = "cpu",
    engine: EngineName = "local",
    address: Address = None,
    workers: Workers = None,
    resume: Resume = False,
    figures: Figures = "png",
    no_report: NoReport = False,
) -> None:
    """Explain a recording: which objects drive each neuron, what they resemble for it, and where."""
    options = locals()
    asked = asked_for(options)
    del options["config"], options["check"]
    if not check:
        check_place(output)
    if resume and not check and not follow_links and _told_again(output, asked):  # what links lead to may have changed
        return
    from captum_shared.cli.checked import print_check
    from captum_shared.cli.prepared import StudyOptions, prepared
    from captum_shared.cli.studied import run

    ready = prepared(StudyOptions(**options))
    if check:
        print_check(ready)
    else:
        run(ready, asked)


def _told_again(output: Path, asked: dict[str, Any]) -> bool:
    """Print the summary of a study that is finished and whole, if that is all that is asked for."""
    record = Record(output)
    if not holds_what_is_asked_for(output, asked):
        return False
    results = [StudyResult.load(output / folder) for folder in record.asked["folders"][:-1]]
    print_summary(results, [name_of(result) for result in results])
    typer.echo(f"{output} holds this study and its figures already, and all of them are whole.")
    return True
