"""``captum-shared explain``, as a user types it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from matplotlib.testing.compare import compare_images
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity
from torchvision.utils import save_image
from typer.testing import CliRunner, Result

from captum_shared import LatentFeatures, LinearReadout, NeuronSimilarity, PixelSharedCorrespondence
from captum_shared.attr.heatmaps import heatmap
from captum_shared.cli import app
from captum_shared.encoders import local_scatter
from captum_shared.encoders.by_name import encoder_by_name
from captum_shared.figures import Candidate, Panel, pair_figure, save_figure
from captum_shared.images import load_images
from captum_shared.methods import METHODS
from captum_shared.synthetic.stimuli import draw_stimuli

pytestmark = pytest.mark.usefixtures("as_installed")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for category in ("creature", "artefact"):
        for i, stimulus in enumerate(draw_stimuli(category, 3, seed=5)):
            save_image(stimulus.image, tmp_path / f"{category}_{i}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def explain(*arguments: str, model: str = "embedded") -> Result:
    return run("explain", *arguments, "--model", model, "--output", "out/pair.png")


def encoder() -> LatentFeatures:
    return encoder_by_name("embedded", "features")


def inputs(*names: str) -> Tensor:
    return load_images(names, encoder().preprocess)


def shared(features: Tensor, weight: Tensor) -> Tensor:
    """The shared weights h of two rows of features, as the equation has them."""
    first, second = features
    return weight**2 * first * second / ((weight * first).norm() * (weight * second).norm())


def gradient_by_hand(pair: Tensor, weight: Tensor) -> Tensor:
    """The paper's maps by autograd, both images in one batch through one encoder."""
    images = pair.clone().requires_grad_()
    latent = encoder()(images)
    h = shared(latent.detach(), weight)
    (gradient,) = torch.autograd.grad((latent @ h).sum(), images)
    return gradient


def recommended_by_hand(pair: Tensor, photographs: Tensor) -> tuple[Tensor, ...]:
    """Plain similarity, of too few photographs to tell their mean."""
    features = encoder()
    with local_scatter(features) as scatter, torch.no_grad():
        features(photographs)
    similarity = NeuronSimilarity(features, LinearReadout.uniform(128, None, scatter.mean))
    with pytest.warns(UserWarning, match="measured from their mean"):
        return PixelSharedCorrespondence(similarity).attribute((pair[:1], pair[1:]), 0)


def assert_maps(of: dict[str, Any]) -> None:
    saved = np.load("out/pair.npz")
    assert {name for name in saved.files if name.endswith(("_image", "_reference"))} == {
        f"{name}_{side}" for name in of for side in ("image", "reference")
    }
    for name, (image, reference) in of.items():
        for side, expected in (("image", image), ("reference", reference)):
            tolerance = 1e-5 * float(expected.abs().max())
            np.testing.assert_allclose(saved[f"{name}_{side}"], expected.detach(), rtol=1e-4, atol=tolerance)


def test_explain_writes_the_figure_and_the_maps_of_the_best_reference(folder: Path) -> None:
    names = ["artefact_0.png", *(f"creature_{i}.png" for i in range(3))]
    result = explain(*names)
    assert result.exit_code == 0, result.output
    images = inputs(*names)
    with torch.no_grad():
        latent = encoder()(images)
    scores = cosine_similarity(latent[:1], latent[1:])
    best = int(scores.argmax())
    lines = [f"similarity {float(scores[i]):.4f} (plain cosine) with {names[1 + i]}" for i in range(3)]
    assert [line in result.output for line in lines] == [True] * 3
    assert "not centred, as 4 photographs do not tell their mean: give --center FOLDER with 10" in result.output
    assert f"with {names[1 + best]}  <- chosen" in result.output
    saved = np.load("out/pair.npz")
    assert (str(saved["image"]), str(saved["reference"])) == (names[0], names[1 + best])
    assert float(saved["similarity"]) == pytest.approx(float(scores[best]), abs=1e-6)
    pair = images[[0, 1 + best]]
    recommended = tuple(one[0] for one in recommended_by_hand(pair, images))
    assert_maps({"recommended": recommended, "paper": gradient_by_hand(pair, torch.ones(128))})
    assert float(saved["recommended_shared"]) == pytest.approx(float(recommended[0].sum()))
    assert f"(recommended): shared {float(recommended[0].sum()):.2f} of 1" in result.output
    assert sorted(path.name for path in Path("out").iterdir()) == ["pair.npz", "pair.png"]
    kept = [torch.from_numpy(saved[f"recommended_{side}"])[None] for side in ("image", "reference")]  # the same numbers
    panels = [
        Panel(
            f"{side}\n{name}",
            image,
            {
                "shared places": METHODS["recommended"].heatmaps(*[(own, own)] * 2)[0][0],
                "shared features (the paper's gradient)": heatmap(
                    torch.from_numpy(saved[f"paper_{side}"])[None], (112, 112), kind="gradient"
                )[0],
            },
        )
        for side, name, image, own in zip(("image", "reference"), (names[0], names[1 + best]), pair, kept, strict=True)
    ]
    candidates = [
        Candidate(names[1 + i], images[1 + i], float(scores[i]), chosen=i == best)
        for i in scores.argsort(descending=True)
    ]
    title = f"plain cosine of embedded, features: similarity {float(scores[best]):.2f}"
    totals = {"shared places": float(saved["recommended_shared"])}
    save_figure(pair_figure(*panels, title=title, shared=totals, candidates=candidates), "expected.png")
    assert compare_images("expected.png", "out/pair.png", tol=0.2) is None  # edges of letters move by a rounding


def test_the_mean_is_that_of_the_folder_to_center_by(folder: Path) -> None:
    Path("all").mkdir()
    names = [f"all/{i}.png" for i in range(10)]
    for name, stimulus in zip(names, draw_stimuli("creature", 10, seed=6), strict=True):
        save_image(stimulus.image, name)
    result = explain("artefact_0.png", "creature_0.png", "--center", "all", "--method", "recommended")
    assert result.exit_code == 0, result.output
    seen = inputs("artefact_0.png", "creature_0.png", *names)  # their places scatter too
    features = encoder()
    with local_scatter(features) as scatter, torch.no_grad():
        mean = features(seen)[2:].mean(0)
    similarity = NeuronSimilarity(features, LinearReadout.uniform(128, mean, scatter.mean))
    maps = PixelSharedCorrespondence(similarity).attribute((seen[:1], seen[1:2]), 0)
    assert_maps({"recommended": [one[0] for one in maps]})


@pytest.mark.parametrize("n_references", [1, 3])
def test_explain_runs_the_network_no_more_than_it_has_to(
    folder: Path, monkeypatch: pytest.MonkeyPatch, n_references: int
) -> None:
    counts = {"forward": 0, "backward": 0}
    forward = nn.Conv2d.forward

    def counted(self: nn.Conv2d, images: Tensor) -> Tensor:
        output = forward(self, images)
        if self.in_channels == 3:
            counts["forward"] += len(images)
            if output.requires_grad:
                output.register_hook(lambda gradient: counts.update(backward=counts["backward"] + len(gradient)))
        return output

    monkeypatch.setattr(nn.Conv2d, "forward", counted)
    result = explain("artefact_0.png", *(f"creature_{i}.png" for i in range(n_references)))
    assert result.exit_code == 0, result.output
    # all photographs for mean and similarities, the check of the cut network with one; one pass of the pair, and one
    # gradient for each of the two methods
    assert counts == {"forward": n_references + 2 + 2, "backward": 4}


@pytest.mark.parametrize("neuron", ["right", "1"])
def test_explain_one_neuron_by_name_or_number(folder: Path, neuron: str) -> None:
    weight = torch.rand(2, 128, generator=torch.Generator().manual_seed(0))
    LinearReadout(weight, neuron_names=["left", "right"]).save("readout.safetensors")
    result = explain(
        "artefact_0.png", "creature_0.png", "--readout", "readout.safetensors", "--neuron", neuron, "--method", "paper"
    )
    assert result.exit_code == 0, result.output
    pair = inputs("artefact_0.png", "creature_0.png")
    with torch.no_grad():
        score = float(cosine_similarity(*(weight[1] * encoder()(pair)), dim=0))
    assert f"similarity {score:.4f} (neuron right) with creature_0.png" in result.output
    assert_maps({"paper": gradient_by_hand(pair, weight[1])})


def test_integrated_gradients_start_from_mid_grey(folder: Path) -> None:
    result = explain("artefact_0.png", "creature_0.png", "--method", "ours-ig")
    assert result.exit_code == 0, result.output
    pair = inputs("artefact_0.png", "creature_0.png")
    with torch.no_grad():
        h = shared(encoder()(pair), torch.ones(128))
    grey = torch.full_like(pair, 128 / 255)
    attribution = IntegratedGradients(lambda images: encoder()(images) @ h)
    expected = attribution.attribute(pair, grey, n_steps=16, internal_batch_size=20)
    assert_maps({"ours-ig": expected})


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16"])
def test_explain_reads_images_of_any_kind(folder: Path, mode: str) -> None:
    with Image.open("creature_0.png") as opened:
        grey, picture = opened.convert("L"), opened.copy()
    seen = grey if mode in ("L", "I;16") else picture.convert(mode)
    seen.convert("RGB").save("plain.png")
    (Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else seen).save("other.png")
    result = explain("artefact_0.png", "other.png", "--method", "paper")
    assert result.exit_code == 0, result.output
    assert_maps({"paper": gradient_by_hand(inputs("artefact_0.png", "plain.png"), torch.ones(128))})


def wrong(*arguments: str, model: str = "embedded") -> str:
    result = explain(*arguments, model=model)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert not Path("out").exists()
    return result.output


def test_wrong_input_is_told_and_nothing_is_written(folder: Path) -> None:
    pair = ("artefact_0.png", "creature_0.png")
    assert "nowhere.png" in wrong("nowhere.png", "creature_0.png")
    Path("short.png").write_bytes(Path("creature_0.png").read_bytes()[:2000])
    assert "short.png" in wrong("artefact_0.png", "short.png")
    Path("text.png").write_text("not an image")
    assert "text.png" in wrong("text.png", "creature_0.png")
    assert "Did you mean features" in wrong(*pair, "--layer", "feature")
    assert "no classification model 'resnet51'" in wrong(*pair, "--weights", "DEFAULT", model="resnet51")
    assert "comes with its weights" in wrong(*pair, "--weights", "DEFAULT")
    assert "Name the weights of resnet18" in wrong(*pair, "--layer", "layer4", model="resnet18")
    assert "--neuron chooses among the neurons of a --readout" in wrong(*pair, "--neuron", "3")
    assert "Expected a point such as --match 120,80" in wrong(*pair, "--match", "here")
    assert "lies outside of the image, which is 112 x 112" in wrong(*pair, "--match", "500,3")
    assert "Did you mean paper" in wrong(*pair, "--method", "papr")
    assert "got more than once: paper" in wrong(*pair, "--method", "paper", "--method", "paper")
    assert "no_such_folder" in wrong(*pair, "--center", "no_such_folder")
    assert "pool='max'" in wrong(*pair, "--pool", "max")
    LinearReadout(torch.rand(2, 5)).save("small.safetensors")
    readout = ("--readout", "small.safetensors")
    assert "2 neurons (0, 1" in wrong(*pair, *readout)
    assert "from 0 to 1" in wrong(*pair, *readout, "--neuron", "7")
    assert "No neuron is named 'one'" in wrong(*pair, *readout, "--neuron", "one")
    assert "with 5 features, but the encoder gives shape (1, 128)" in wrong(*pair, *readout, "--neuron", "0")
    assert "Use --device cpu" in wrong(*pair, "--device", "cuda:99")
    assert "--center is for plain cosine" in wrong(*pair, *readout, "--neuron", "0", "--center", ".")
    assert "artefact_0.png" in wrong(*pair, "--readout", "artefact_0.png")


def test_weights_of_another_network_are_told_by_their_keys(folder: Path) -> None:
    torch.save({"features.0.weight": torch.zeros(2)}, "wrong.pt")
    told = wrong(
        "artefact_0.png", "creature_0.png", "--weights", "wrong.pt", "--layer", "features", model="squeezenet1_1"
    )
    assert "missing" in told
    assert "features.0.bias" in told
    assert "features.0.weight (2,) instead of (64, 3, 3, 3)" in told


def test_an_output_that_is_no_figure_is_told(folder: Path) -> None:
    result = run("explain", "artefact_0.png", "creature_0.png", "--model", "embedded", "--output", "pair.docx")
    assert result.exit_code == 2
    assert "give it one of the extensions" in result.output
