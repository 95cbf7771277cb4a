"""``captum-shared features``: latent features of many images, extracted once."""

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from captum_shared._files import check_place
from captum_shared.cli.app import app, listed, told
from captum_shared.cli.choices import Address, EngineName, MaxPixels, Pool, SkipBad, Workers
from captum_shared.cli.study_options import ByRow, SkipMissing, Stimuli
from captum_shared.recordings.formats.table import EXTENSIONS


@app.command(
    epilog="Example, after captum-shared simulate --output world: captum-shared features world/images --model embedded "
    "--layer features --output store"
)
@told
def features(
    source: Annotated[
        Path,
        typer.Argument(
            help="Folder of images, searched at any depth; CSV file with the columns stimulus_id and filename; or "
            f"recording ({', '.join(EXTENSIONS)}), of which the images are taken."
        ),
    ],
    model: Annotated[str, typer.Option(help="Model of torchvision, timm:NAME, hf:NAME, or 'embedded'.")],
    output: Annotated[Path, typer.Option(help="Folder of the store.")],
    layer: Annotated[
        list[str],
        typer.Option(
            help="Layer whose features to keep; again or with commas for more, in one pass. 'auto' is several depths, "
            "as for captum-shared study."
        ),
    ],
    weights: Annotated[
        str | None, typer.Option(help="DEFAULT, another weights entry of torchvision, a file or a folder.")
    ] = None,
    pool: Annotated[Pool, typer.Option(help="How the positions of the layer are summarised.")] = "average",
    images: Annotated[Path | None, typer.Option(help="Folder with the images, for a CSV file or a recording.")] = None,
    stimuli: Stimuli = None,
    by_row: ByRow = False,
    skip_missing: SkipMissing = False,
    dtype: Annotated[
        Literal["float32", "float16"],
        typer.Option(help="Precision of the numbers; float16 takes half the room, and keeps three digits."),
    ] = "float32",
    skip_bad: SkipBad = False,
    max_pixels: MaxPixels = None,
    num_workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of processes that read images ahead of the network; by default one, or none on one core.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="Device to compute on, such as cpu, cuda or mps.")] = "cpu",
    engine: EngineName = "local",
    address: Address = None,
    workers: Workers = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the store in the output folder, or mend it.")
    ] = False,
) -> None:
    """Extract the latent features of images to a store, which study, benchmark and explain read (--features)."""
    check_place(output)
    from captum_shared._engine import engine_by_name
    from captum_shared.cli.networks import available, layered_encoder
    from captum_shared.encoders.writing import Extraction, write_features
    from captum_shared.recordings.listed import listed_images

    chosen = {"stimuli": stimuli, "by_row": by_row, "skip_missing": skip_missing}
    paths = listed_images(source, images=images, **{name: value for name, value in chosen.items() if value})
    encoder = layered_encoder(model, listed(layer) or [], weights, pool=pool).to(available(device))
    readers = min(1, (os.cpu_count() or 1) - 1) if num_workers is None else num_workers
    with engine_by_name(engine, address=address, workers=workers, gpus=device.startswith("cuda")) as computing:
        store = write_features(
            output,
            encoder,
            paths,
            extraction=Extraction(dtype, skip_bad=skip_bad, num_workers=readers),
            engine=computing,
            resume=resume,
        )
    for name, reason in store.skipped.items():
        typer.echo(f"left out: {name} ({reason})")
    for name in store.layers:
        shape = store.features(name).shape
        typer.echo(f"{name}: {shape[0]} images x {shape[1]} features, {store.dtype}")
    size = sum(file.stat().st_size for file in output.rglob("*") if file.is_file())
    typer.echo(f"Wrote {size / 1e6:.1f} MB to {output}. Next: add --features {output} to captum-shared study.")
