"""The options of ``captum-shared study``, under the headings of its help."""

from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

import typer

from captum_shared.cli.choices import RECORDING, WORK, FigureFormat, Pool
from captum_shared.recordings.formats.table import EXTENSIONS

NETWORK: Final = "Network"
PAIRS: Final = "Pairs and methods"
OUTPUT: Final = "Output"


def _option(panel: str, *names: str, **told: Any) -> Any:
    return typer.Option(*names, rich_help_panel=panel, **told)


Responses: TypeAlias = Annotated[
    Path, typer.Argument(metavar="RECORDING", help=f"File of responses: {', '.join(EXTENSIONS)}.")
]
Images: TypeAlias = Annotated[Path, _option(RECORDING, metavar="FOLDER", help="Folder with the images.")]
Preferred: TypeAlias = Annotated[
    str, _option(RECORDING, metavar="CATEGORY", help="Preferred category; all others are out of category.")
]
Stimuli: TypeAlias = Annotated[
    Path | None,
    _option(RECORDING, metavar="FILE", help="CSV file with the columns stimulus_id, filename and category."),
]
ByRow: TypeAlias = Annotated[
    bool,
    _option(RECORDING, "--by-row", help="Match rows without identifiers to the rows of the CSV file, in order."),
]
SkipMissing: TypeAlias = Annotated[
    bool, _option(RECORDING, "--skip-missing", help="Leave out images whose file is missing.")
]
AllowOutside: TypeAlias = Annotated[
    bool,
    _option(RECORDING, "--allow-outside", help="Read images outside of the folder, where file names lead out of it."),
]
FollowLinks: TypeAlias = Annotated[
    bool,
    _option(RECORDING, "--follow-links", help="Let an HDF5-based recording take its data from other files."),
]
Window: TypeAlias = Annotated[
    tuple[float, float],
    _option(RECORDING, metavar="FROM TO", help="Seconds after onset in which spikes are counted (NWB only)."),
]
Neurons: TypeAlias = Annotated[
    list[str] | None,
    _option(RECORDING, metavar="NAME", help="Neuron to study; repeat it for more. All by default."),
]
Regions: TypeAlias = Annotated[
    list[str] | None,
    _option(RECORDING, "--region", metavar="NAME", help="Region whose neurons to study; repeat it for more."),
]
Behaviour: TypeAlias = Annotated[
    Path | None,
    _option(
        RECORDING,
        metavar="FILE",
        help="CSV file of a behavioural measure, with the columns stimulus_id and value, and maybe reference and "
        "trial: how it goes with predicted responses and maps is tested.",
    ),
]
Models: TypeAlias = Annotated[
    list[str],
    _option(
        NETWORK,
        metavar="NAME",
        help="Model of torchvision, timm:NAME, hf:NAME, or 'embedded'; repeat it to compare models.",
    ),
]
Layers: TypeAlias = Annotated[
    list[str],
    _option(
        NETWORK,
        metavar="NAME",
        help="Layer to cut the network at; one for all models, or one for each. With 'auto' several depths are tried, "
        "and the one that predicts held-out images of the preferred category best is taken.",
    ),
]
Weights: TypeAlias = Annotated[
    list[str] | None,
    _option(
        NETWORK,
        metavar="NAME",
        help="DEFAULT, another weights entry of torchvision, or a file; for each model but embedded.",
    ),
]
Pooling: TypeAlias = Annotated[
    Pool,
    _option(
        NETWORK,
        metavar="NAME",
        help="How the positions of the layer are summarised: average, max, none or class_token.",
    ),
]
Stores: TypeAlias = Annotated[
    list[Path] | None,
    _option(
        NETWORK,
        metavar="FOLDER",
        help="Store of captum-shared features to take the features of all images from; one for each model.",
    ),
]
Strong: TypeAlias = Annotated[
    int, _option(PAIRS, metavar="N", help="Number of strongest objects to explain for each neuron.")
]
Dissimilar: TypeAlias = Annotated[
    int, _option(PAIRS, metavar="N", help="Number of strong objects that resemble no reference.")
]
Weak: TypeAlias = Annotated[int, _option(PAIRS, metavar="N", help="Number of weakest objects to explain.")]
DriverFraction: TypeAlias = Annotated[
    float, _option(PAIRS, metavar="SHARE", help="Share of images that count as drivers of a neuron.")
]
Methods: TypeAlias = Annotated[
    list[str] | None,
    _option(
        PAIRS,
        metavar="NAME",
        help="Method that makes maps, as of captum-shared methods; repeat it for more. recommended and paper by "
        "default.",
    ),
]
AllNeurons: TypeAlias = Annotated[
    bool,
    _option(PAIRS, "--all-neurons", help="Explain neurons, too, that are predicted no better than by chance."),
]
Folds: TypeAlias = Annotated[int, _option(PAIRS, metavar="N", help="Number of folds of the cross-validation.")]
Seed: TypeAlias = Annotated[int, _option(PAIRS, metavar="N", help="Seed of the folds.")]
Device: TypeAlias = Annotated[
    str, _option(WORK, metavar="NAME", help="Device to compute on, such as cpu, cuda or mps.")
]
Output: TypeAlias = Annotated[
    Path, _option(OUTPUT, metavar="FOLDER", help="Folder for study.json, maps.npz, the readouts and the figures.")
]
Show: TypeAlias = Annotated[
    str | None,
    _option(OUTPUT, metavar="NAME", help="Method whose maps the figures show; by default the recommended one."),
]
Resume: TypeAlias = Annotated[bool, _option(OUTPUT, "--resume", help="Go on with the study in the output folder.")]
Figures: TypeAlias = Annotated[
    FigureFormat, _option(OUTPUT, metavar="NAME", help="Format of the figures: png, pdf or svg.")
]
NoReport: TypeAlias = Annotated[
    bool, _option(OUTPUT, "--no-report", help="Leave out report.html, the study in a browser.")
]
Check: TypeAlias = Annotated[
    bool, typer.Option("--check", help="Say what the study will do and cost, and what is wrong; nothing is written.")
]
