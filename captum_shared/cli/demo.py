"""``captum-shared demo``: a simulated recording, its study, and how right the maps are."""

from pathlib import Path
from typing import Annotated, Final

import typer

from captum_shared._files import check_outputs
from captum_shared._record import Record
from captum_shared.cli.app import app, listed, told
from captum_shared.cli.choices import MethodNames

_NEURONS: Final = 6
CAPTUM: Final = ("neuron-grad-cam", "neuron-guided-grad-cam", "neuron-deeplift", "similarity-grad-cam")
"""What a user of Captum would pick, shown beside the default methods."""


@app.command(epilog="Example: captum-shared demo --output demo")
@told
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the figures and demo.json.")] = Path("captum-shared-demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the images and the recording.")] = 0,
    method: MethodNames = None,
) -> None:
    """Simulate six neurons, study them, and tell how right the maps of several methods are.

    The same steps one by one: captum-shared simulate, then captum-shared study.
    """
    from captum_shared.attr import NeuronSimilarity
    from captum_shared.cli.demonstrated import print_demo, write_demo
    from captum_shared.encoders import encoder_by_name
    from captum_shared.evaluation import score_simulated_pairs
    from captum_shared.methods import DEFAULT_METHODS, methods_by_name
    from captum_shared.neurons import LinearReadout
    from captum_shared.recordings import Recording
    from captum_shared.study import StudySettings, run_study
    from captum_shared.synthetic import simulate_recording

    kept = (output / name for name in ("demo.json", *(f"neuron_{index}.png" for index in range(_NEURONS))))
    check_outputs(kept, read=[], made=[output / name for name in Record(output).names], force=False)
    methods = methods_by_name(listed(method) or [*DEFAULT_METHODS, *CAPTUM])
    world = output / f"world-{seed}"
    if not world.exists():
        simulate_recording(world, format="npz", n_neurons=_NEURONS, seed=seed, progress=True)
    features = encoder_by_name("embedded", "features")
    settings = StudySettings("creature", n_strong=1, n_dissimilar=0, n_weak=0, all_neurons=True, seed=seed)
    recording = Recording.load(world / "recording.npz")
    study = run_study(recording, features, settings, output=output / "study", model="embedded", resume=True)
    similarity = NeuronSimilarity(features, LinearReadout.load(output / "study" / "readout.safetensors"))
    pairs = [(neuron.name, pair.image, pair.reference) for neuron in study.included for pair in neuron.pairs]
    scored = score_simulated_pairs(world, similarity, pairs, methods=methods)
    write_demo(study, scored, output, seed)
    print_demo(study, scored)
    typer.echo(f"\nWrote {len(scored)} figures, demo.json, the recording and its study to {output}.")
