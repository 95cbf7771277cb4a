"""The pictures of the documentation: the pages that explain the method, and one of every figure function.

All are of the drawn world, so that nothing is downloaded. It takes some minutes, and goes on where it was interrupted:

    python docs/_site/pictures.py --work pictures
"""

import argparse
import io
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

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
    SharedCorrespondence,
    StudySettings,
    explain,
    run_study,
)
from captum_shared.attr import components, counterpart, significance
from captum_shared.encoders import encoder_by_name
from captum_shared.evaluation import ScoredPair, category_neurons, score_simulated_pairs
from captum_shared.figures import (
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
TITLES = ("artefact", "its reference")
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


def clearest(scored: list[ScoredPair], n_parts: int) -> ScoredPair:
    """The pair with that many shared parts that the recommended map finds best."""
    return max(scored, key=lambda pair: pair.scores["recommended"]["mass"] if len(pair.shared_parts) == n_parts else -1)


def method_pictures(work: Path, study: StudyResult) -> None:
    """The pictures of the pages that tell how the method works and how to read a map."""
    readout = LinearReadout.load(work / "study" / "readout.safetensors")
    similarity = NeuronSimilarity(encoder_by_name("embedded", "features"), readout)
    pairs = [(each.name, pair.image, pair.reference) for each in study.included for pair in each.pairs[:1]]
    scored = score_simulated_pairs(work / "world", similarity, pairs, methods=methods_by_name(SHOWN))
    pair = clearest(scored, 1)
    found = next(each.pairs[0].similarity for each in study.included if each.name == pair.neuron)
    save(known_pair_figure(pair, similarity=found, titles=TITLES), "known_pair_figure")
    save(tested_pair(similarity, pair), "pair_figure")

    pair = clearest(scored, 2)
    images = tuple(each[0] for each in pair.inputs)
    maps = PixelSharedCorrespondence(similarity).attribute(pair.inputs, target=pair.neuron)
    split = components(similarity, pair.inputs, pair.neuron)
    save(components_figure(images, split, maps=maps, titles=TITLES), "components_figure")
    at_layer = SharedCorrespondence(similarity).attribute(pair.inputs, target=pair.neuron)[0][0].sum(0)
    row, column = divmod(int(at_layer.argmax()), at_layer.shape[1])
    size = images[0].shape[1] / at_layer.shape[0]
    point = (column + 0.5) * size, (row + 0.5) * size
    match = counterpart(similarity, pair.inputs, pair.neuron, point=point)
    save(counterpart_figure(images, match, point, titles=TITLES), "counterpart_figure")


def tested_pair(similarity: NeuronSimilarity, pair: ScoredPair) -> Figure:
    """A pair with an outline of what is more than chance: artefacts without what drives the neuron are the null."""
    images = torch.cat(pair.inputs)
    explanations = explain(similarity, pair.inputs, pair.neuron, methods=["recommended", "paper"])
    artefacts = draw_stimuli("artefact", 120, seed=5)
    plain = torch.stack([each.image for each in artefacts if not {*pair.shared_parts} & {*each.masks}])
    tested = significance(similarity, pair.inputs, pair.neuron, null_references=plain)
    regions = tested.of_pixels((images.shape[2], images.shape[3]))
    panels = explanation_panels(explanations, images, TITLES)
    outlined = [replace(panel, region=region[0]) for panel, region in zip(panels, regions, strict=True)]
    return pair_figure(
        *outlined, title=f"{pair.neuron}, outlined: more than chance", shared=shared_totals(explanations)
    )


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
            if not stimulus.masks:
                continue
            part = max(stimulus.masks, key=lambda name: int(stimulus.masks[name].sum()))
            file = folder / part / f"{category}_{index:03d}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            picture = (stimulus.image * 255).byte().permute(1, 2, 0).numpy()
            Image.fromarray(picture).save(file)
    return folder


def main() -> None:
    """Draw all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("pictures"), help="folder of the work that is kept")
    options = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
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
