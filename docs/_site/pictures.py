"""The pictures of the documentation: the pages that explain the method, and one of every figure function.

All are of the drawn world, so that nothing is downloaded. It takes some minutes, and goes on where it was interrupted:

    python docs/_site/pictures.py --work pictures
"""

import argparse
import base64
import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from PIL import Image

from captum_shared import (
    LinearReadout,
    NeuronSimilarity,
    PixelSharedCorrespondence,
    Recording,
    StudySettings,
    explain,
    run_study,
)
from captum_shared.attr import components, counterpart, significance
from captum_shared.encoders import encoder_by_name
from captum_shared.evaluation import ScoredPair, category_neurons, score_simulated_pairs
from captum_shared.figures import (
    Candidate,
    architectures_figure,
    behaviour_figure,
    benchmark_figure,
    components_figure,
    concordance_figure,
    counterpart_figure,
    encoding_figure,
    explanation_panels,
    faint_figure,
    integrated_gradients_figure,
    known_pair_figure,
    pair_figure,
    pair_panels_figure,
    preferences_figure,
    response_figure,
    shared_totals,
)
from captum_shared.methods import methods_by_name
from captum_shared.study import BehaviourTable, StudyResult
from captum_shared.synthetic import draw_stimuli, simulate_recording

ROOT = Path(__file__).parents[2]
PICTURES = ROOT / "docs" / "pictures"
LARGEST = 200_000
SHOWN = ("recommended", "paper", "neuron-grad-cam", "similarity-grad-cam")


def save(figure: Figure | Image.Image, name: str, *, width: int = 1600) -> None:
    """Write a picture as WebP of at most that width in pixels and 200 kB."""
    if isinstance(figure, Figure):
        drawn = io.BytesIO()
        figure.savefig(drawn, dpi=200, bbox_inches="tight", facecolor="white", format="png")
        figure = Image.open(drawn)
    picture = figure.convert("RGB")
    picture.thumbnail((width, 4 * width), Image.Resampling.LANCZOS)
    for quality in (90, 80, 70, 55, 40):
        packed = io.BytesIO()
        picture.save(packed, "WEBP", quality=quality, method=6)
        if packed.tell() < LARGEST:
            break
    (PICTURES / f"{name}.webp").write_bytes(packed.getvalue())


def studies(work: Path) -> tuple[StudyResult, StudyResult, Recording]:
    """Two studies of one simulated recording, at two layers of the embedded network."""
    world = work / "world"
    if not world.exists():
        simulate_recording(world, n_neurons=12, n_creatures=240, n_artefacts=240, seed=0)
    recording = Recording.load(world / "recording.nc", images=world / "images")
    measure = pd.DataFrame(
        {
            "stimulus_id": recording.stimulus_ids,
            "value": np.nanmean(np.asarray(recording.responses), axis=-1)
            .reshape(-1, len(recording.stimulus_ids))
            .mean(0),
        }
    )
    measure.to_csv(work / "behaviour.csv", index=False)
    methods = ("recommended", "paper", "ours-ig")
    settings = StudySettings("creature", methods=methods)
    behaviour = BehaviourTable.read(work / "behaviour.csv", recording.stimulus_ids)
    first = run_study(
        recording,
        encoder_by_name("embedded", "features"),
        settings,
        output=work / "study",
        model="embedded",
        behaviour=behaviour,
        resume=True,
    )
    earlier = encoder_by_name("embedded", "features.11")
    second = run_study(
        recording, earlier, settings, output=work / "earlier", model="embedded", pairs_of=first, resume=True
    )
    return first, second, recording


def clearest(scored: list[ScoredPair]) -> ScoredPair:
    """The pair with one shared part that the recommended map finds best."""
    return max(scored, key=lambda pair: pair.scores["recommended"]["mass"] if len(pair.shared_parts) == 1 else -1)


def method_pictures(work: Path, study: StudyResult) -> None:
    """The pictures of the pages that tell how the method works and how to read a map."""
    world = work / "world"
    similarity = NeuronSimilarity(
        encoder_by_name("embedded", "features"), LinearReadout.load(work / "study" / "readout.safetensors")
    )
    pairs = [(each.name, pair.image, pair.reference) for each in study.included for pair in each.pairs[:1]]
    scored = list(score_simulated_pairs(world, similarity, pairs, methods=methods_by_name(SHOWN)))
    pair = clearest(scored)
    found = next(each.pairs[0].similarity for each in study.included if each.name == pair.neuron)
    save(known_pair_figure(pair, similarity=found, titles=("artefact", "its reference")), "known_pair_figure")
    images = tuple(each[0] for each in pair.inputs)
    maps = PixelSharedCorrespondence(similarity).attribute(pair.inputs, target=pair.neuron)
    split = components(similarity, pair.inputs, pair.neuron)
    save(components_figure(images, split, maps=maps, titles=("artefact", "its reference")), "components_figure")
    heat = maps[0][0].sum(0)
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    match = counterpart(similarity, pair.inputs, pair.neuron, point=(float(column), float(row)))
    drawn = counterpart_figure(images, match, (float(column), float(row)), titles=("artefact", "its reference"))
    save(drawn, "counterpart_figure")
    pair_pictures(similarity, pair, world)


def pair_pictures(similarity: NeuronSimilarity, pair: ScoredPair, world: Path) -> None:
    """One pair with what is significant, and beside it pairs that share less and less."""
    images = torch.cat(pair.inputs)
    explanations = explain(similarity, pair.inputs, pair.neuron, methods=["recommended", "paper"])
    drawn = draw_stimuli("artefact", 60, seed=5)
    wanted = set(pair.shared_parts)
    plain = torch.stack([each.image for each in drawn if not wanted & set(each.masks)])
    tested = significance(similarity, pair.inputs, pair.neuron, null_references=plain)
    regions = tested.of_pixels(tuple(images.shape[2:]))
    panels = explanation_panels(explanations, images, ("artefact", "its reference"))
    outlined = [replace(panel, region=region[0]) for panel, region in zip(panels, regions, strict=True)]
    near = [Candidate("reference", images[1], 0.9, chosen=True)]
    save(pair_figure(*outlined, title=pair.neuron, shared=shared_totals(explanations), candidates=near), "pair_figure")


def study_pictures(first: StudyResult, second: StudyResult) -> dict[str, Callable[[], Figure]]:
    """What draws each figure of a study."""
    drawn: dict[str, Callable[[], Figure]] = {
        "encoding_figure": partial(encoding_figure, first),
        "response_figure": partial(response_figure, first),
        "pair_panels_figure": lambda: next(pair_panels_figure(first, "posterior")),
        "faint_figure": partial(faint_figure, first),
        "integrated_gradients_figure": partial(integrated_gradients_figure, first),
        "architectures_figure": lambda: architectures_figure([first, second], ["features", "features.11"]),
        "behaviour_figure": partial(behaviour_figure, first),
    }
    if first.compared:
        drawn["concordance_figure"] = partial(concordance_figure, first.compared[0])
    return drawn


def categories(folder: Path) -> Path:
    """Drawn images in subfolders by the part that covers most of them."""
    for seed, category in enumerate(("creature", "artefact")):
        for index, stimulus in enumerate(draw_stimuli(category, 400, seed=11 + seed)):
            part = max(stimulus.masks, key=lambda name: int(stimulus.masks[name].sum()))
            file = folder / part / f"{category}_{index:03d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture = (stimulus.image * 255).byte().permute(1, 2, 0).numpy()
            Image.fromarray(picture).save(file)
    return folder


def tutorial_pictures() -> None:
    """One picture of every tutorial: the last that it draws, or the one whose cell has the tag 'gallery'."""
    for path in sorted((ROOT / "tutorials").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        drawn = [
            (cell, output.data["image/png"])
            for cell in cells
            for output in cell.get("outputs", [])
            if "image/png" in output.get("data", {})
        ]
        tagged = [picture for cell, picture in drawn if "gallery" in cell.metadata.get("tags", [])]
        if drawn:
            save(Image.open(io.BytesIO(base64.b64decode((tagged or [drawn[0][1]])[0]))), path.stem, width=1000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("pictures"), help="folder of the work that is kept")
    parser.add_argument("--tutorials", action="store_true", help="the pictures of the tutorials only")
    options = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    tutorial_pictures()
    if options.tutorials:
        return
    first, second, _ = studies(options.work)
    for name, draw in study_pictures(first, second).items():
        save(draw(), name)
    method_pictures(options.work, first)
    result = json.loads((ROOT / "benchmarks" / "results" / "parts.json").read_text(encoding="utf-8"))
    save(benchmark_figure(result), "benchmark_figure")
    folder = options.work / "categories"
    photographs = folder if folder.exists() else categories(folder)
    features = encoder_by_name("embedded", "features")
    save(preferences_figure(category_neurons(features, photographs)[:3]), "preferences_figure")


if __name__ == "__main__":
    main()
