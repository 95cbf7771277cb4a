"""Neurons that prefer a category: simulated, fitted, explained and drawn."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from toy_study import overlays, texts
from toys import real_data

from captum_shared import LatentFeatures, fit_readout
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.evaluation.tasks.preferences import CategoryNeuron, MethodMaps, Photograph, category_neurons
from captum_shared.evaluation.tasks.simulation import fitting_half, preferred_categories, simulated_responses
from captum_shared.figures.preferences import preferences_figure
from captum_shared.images import image_folder, load_images, rgb_preprocess
from captum_shared.methods.method import Method
from captum_shared.methods.registry import methods_by_name

COLOURS = {
    "red": (230, 40, 40),
    "green": (40, 230, 40),
    "blue": (40, 40, 230),
    "other": (200, 150, 90),
    "few": (9, 9, 9),
}
NAMES = ["paper", "neuron-saliency"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noisy photographs, each of the colour of its category: 16 red, 14 green, 12 blue, 20 of others, 3 of few."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for (category, colour), number in zip(COLOURS.items(), (16, 14, 12, 20, 3), strict=True):
        (root / category).mkdir()
        for index in range(number):
            noisy = np.asarray(colour) + rng.normal(0, 50, 3) + rng.normal(0, 40, (8, 8, 3))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(root / category / f"{index:02d}.png")
    return root


@pytest.fixture(scope="module")
def features() -> LatentFeatures:
    """Five random features, in float64."""
    network = nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU()).double()
    generator = torch.Generator().manual_seed(3)
    for parameter in network.parameters():
        nn.init.normal_(parameter, generator=generator)
    encoder = LatentFeatures(network, "1")
    encoder.preprocess = rgb_preprocess(8)
    return encoder


@pytest.fixture(scope="module")
def neurons(features: LatentFeatures, folder: Path) -> list[CategoryNeuron]:
    return category_neurons(features, folder, names=NAMES, seed=1)


def test_the_largest_categories_are_preferred() -> None:
    sizes = {"f": 10, "b": 12, "g": 10, "a": 12, "e": 11, "c": 30, "d": 10, "h": 9, "Other": 50, "": 60}
    labels = [label for label, size in sizes.items() for _ in range(size)]
    assert preferred_categories(labels) == ["c", "a", "b", "e", "d", "f"]


def test_one_category_is_not_enough() -> None:
    with pytest.raises(
        ValueError, match=r"at least two categories with 10 or more .* got cat \(9\), dog \(10\)\. Sort"
    ):
        preferred_categories(["dog"] * 10 + ["cat"] * 9 + ["other"] * 20)
    with pytest.raises(ValueError, match="got none"):
        preferred_categories([""] * 20)


def test_half_of_every_category_is_for_fitting() -> None:
    labels = ["dog", "cat"] * 5 + ["dog", "cat", "dog", "fox"]
    fitting = fitting_half(labels, seed=4)
    counts = {label: sum(f for f, own in zip(fitting, labels, strict=True) if own == label) for label in set(labels)}
    assert counts == {"dog": 4, "cat": 3, "fox": 1}
    assert (fitting == fitting_half(labels, seed=4)).all()
    assert len({tuple(fitting_half(labels, seed=seed)) for seed in range(20)}) > 10
    with pytest.raises(ValueError, match="seed of at least 0, got -1"):
        fitting_half(labels, seed=-1)


def test_responses_have_the_mean_and_the_noise_of_spike_counts() -> None:
    n = 20000
    responses = simulated_responses(["dog"] * n + ["cat"] * n, ["dog"], seed=0)[:, 0]
    counts = responses * 1.6
    np.testing.assert_allclose(counts, counts.round(), atol=1e-9)
    for own, rate in ((responses[:n], 28.0), (responses[n:], 4.0)):
        np.testing.assert_allclose(own.mean(), rate, atol=4 * math.sqrt(rate / 1.6 / n))
        np.testing.assert_allclose(own.var(), rate / 1.6, rtol=0.06)


def by_hand(features: LatentFeatures, folder: Path, seed: int) -> list[tuple[str, str, list[str], float, float]]:
    """Image, reference, examples, similarity and selectivity of each neuron, photograph by photograph."""
    paths, labels = image_folder(folder)
    latent = torch.cat([features(load_images([path], features.preprocess).double()) for path in paths])
    fitting = fitting_half(labels, seed=seed).tolist()
    fitted = [index for index, used in enumerate(fitting) if used]
    shown = [index for index, used in enumerate(fitting) if not used]
    names = ["red", "green", "blue"]
    readout = fit_readout(latent[fitted], simulated_responses([labels[at] for at in fitted], names, seed=seed))
    mean = latent[fitted].mean(0)
    found = []
    for weight, bias, name in zip(readout.weight, readout.bias, names, strict=True):
        predicted = {at: float(weight @ latent[at] + bias) for at in shown}
        inside = sorted((at for at in shown if labels[at] == name), key=lambda at: -predicted[at])
        outside = [at for at in shown if labels[at] != name]
        image = max(outside, key=lambda at: predicted[at])
        alike = {
            at: float(
                functional.cosine_similarity(weight * (latent[image] - mean), weight * (latent[at] - mean), dim=0)
            )
            for at in inside[: max(1, round(len(inside) / 4))]
        }
        reference = max(alike, key=lambda at: alike[at])
        wins = [predicted[a] > predicted[b] for a in inside for b in outside]
        examples = [at for at in inside if at != reference][:2]
        image_path, reference_path, *example_paths = (
            f"{labels[at]}/{paths[at].name}" for at in (image, reference, *examples)
        )
        found.append((image_path, reference_path, example_paths, alike[reference], sum(wins) / len(wins)))
    return found


def test_photographs_and_numbers_are_those_of_the_definition(
    features: LatentFeatures, folder: Path, neurons: list[CategoryNeuron]
) -> None:
    assert [neuron.category for neuron in neurons] == ["red", "green", "blue"]
    for neuron, (image, reference, examples, similarity, selectivity) in zip(
        neurons, by_hand(features, folder, 1), strict=True
    ):
        assert neuron.image.path == image
        assert neuron.reference.path == reference
        assert [example.path for example in neuron.examples] == examples
        assert neuron.similarity == pytest.approx(similarity, abs=1e-9)
        assert neuron.selectivity == pytest.approx(selectivity, abs=1e-12)
        assert neuron.image.category == image.split("/")[0]
        assert neuron.mean_preferred > neuron.mean_other


def test_the_readout_learns_the_categories(neurons: list[CategoryNeuron]) -> None:
    assert all(neuron.selectivity > 0.8 for neuron in neurons)


@pytest.mark.parametrize("seed", range(5))
def test_nothing_that_was_fitted_is_shown(features: LatentFeatures, folder: Path, seed: int) -> None:
    paths, labels = image_folder(folder)
    fitted = {path for path, used in zip(paths, fitting_half(labels, seed=seed), strict=True) if used}
    for neuron in category_neurons(features, folder, names=[], seed=seed):
        shown = [neuron.image, neuron.reference, *neuron.examples]
        assert not fitted & {folder / photograph.path for photograph in shown}
        assert len({photograph.path for photograph in shown}) == 4
        assert [photograph.category == neuron.category for photograph in shown] == [False, True, True, True]


def test_maps_are_those_of_the_methods(features: LatentFeatures, folder: Path) -> None:
    def first_channel(
        similarity: NeuronSimilarity, pair: tuple[Tensor, Tensor], target: Tensor
    ) -> tuple[Tensor, Tensor]:
        weight = similarity.readout.weight[target].square().sum()
        return pair[0][:, :1] * weight, pair[1][:, :1] * weight

    own = Method("red-channel", "trivial", first_channel, kind="layer")
    neurons = category_neurons(features, folder, names=["ours-ig", own], seed=2)
    _, labels = image_folder(folder)
    for neuron in neurons:
        assert [(maps.method, maps.family) for maps in neuron.maps] == [("ours-ig", "ours"), ("red-channel", "trivial")]
        for side in (neuron.image, neuron.reference):
            torch.testing.assert_close(
                side.picture, load_images([folder / side.path], rgb_preprocess(8))[0].double(), atol=0, rtol=0
            )
    scales = {float(neuron.maps[1].image.sum() / neuron.image.picture[0].sum()) for neuron in neurons}
    assert len(scales) == len({round(scale, 9) for scale in scales}) == 3  # each with its own neuron
    paths, _ = image_folder(folder)
    latent = features(load_images(paths, rgb_preprocess(8)).double())
    fitting = fitting_half(labels, seed=2)
    responses = simulated_responses(np.asarray(labels)[fitting].tolist(), ["red", "green", "blue"], seed=2)
    similarity = NeuronSimilarity(features, fit_readout(latent[torch.from_numpy(fitting)], responses, center=True))
    for index, neuron in enumerate(neurons):
        pair = (neuron.image.picture[None], neuron.reference.picture[None])
        image, reference = methods_by_name(["ours-ig"])[0].maps(similarity, pair, index)
        torch.testing.assert_close(neuron.maps[0].image, image[0])
        torch.testing.assert_close(neuron.maps[0].reference, reference[0])


def test_the_same_seed_gives_the_same_neurons(
    features: LatentFeatures, folder: Path, neurons: list[CategoryNeuron]
) -> None:
    again = category_neurons(features, folder, names=NAMES, seed=1)
    assert [neuron.as_dict() for neuron in again] == [neuron.as_dict() for neuron in neurons]
    other = category_neurons(features, folder, names=NAMES, seed=2)
    assert [neuron.as_dict() for neuron in other] != [neuron.as_dict() for neuron in neurons]


def test_the_entry_is_ready_for_json_and_complete(neurons: list[CategoryNeuron]) -> None:
    entry = neurons[0].as_dict()
    assert json.loads(json.dumps(entry)) == entry
    assert list(entry) == [field.name for field in dataclasses.fields(CategoryNeuron)]
    assert entry["reference"]["response"] == neurons[0].reference.response
    assert [maps["image"] for maps in entry["maps"]] == [maps.image.max().item() for maps in neurons[0].maps]
    assert len(entry["examples"]) == 2


def test_what_is_wrong_is_said_before_anything_is_computed(features: LatentFeatures, folder: Path) -> None:
    bare = LatentFeatures(nn.Sequential(nn.Conv2d(3, 2, 1)), "0")
    with pytest.raises(ValueError, match=r"features\.preprocess is None\. Set it"):
        category_neurons(bare, folder)
    with pytest.raises(ValueError, match="There is no method 'papr'"):
        category_neurons(features, folder / "missing", names=["papr"])
    with pytest.raises(FileNotFoundError, match="no folder at"):
        category_neurons(features, folder / "missing")


def test_real_photographs_and_a_real_network(tmp_path: Path) -> None:
    source = real_data("imagenet_sample")
    for category in ("dog", "bird", "vehicle"):
        (tmp_path / category).mkdir()
        for path in sorted((source / category).iterdir())[:14]:
            (tmp_path / category / path.name).symlink_to(path)
    weights = real_data("squeezenet1_0_imagenet.safetensors")
    features = LatentFeatures.from_torchvision("squeezenet1_0", weights=weights, layer="features")
    neurons = category_neurons(features, tmp_path, names=["ours-layer-centred"])
    assert [neuron.category for neuron in neurons] == ["bird", "dog", "vehicle"]
    for neuron in neurons:
        assert neuron.selectivity > 0.9
        assert neuron.maps[0].image.shape == neuron.image.picture.shape[1:]
        assert float(neuron.maps[0].reference.max()) > 0
        assert 0 <= float(neuron.image.picture.min()) < 0.2 < 0.8 < float(neuron.image.picture.max()) <= 1


def drawn(category: str, names: list[str], *, height: float = 1.0, size: int = 6) -> CategoryNeuron:
    """A neuron whose maps by method k are ramps up to k + 1 and, of the reference, up to ``height`` times that."""
    pictures = torch.rand(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    image, reference, *examples = (
        Photograph(f"{name}/{name}.png", name, response, picture)
        for name, response, picture in zip(
            ("wild_canine", category, category, category), (21.25, 23.5, 30.0, 29.0), pictures, strict=True
        )
    )
    ramp = torch.linspace(0, 1, size * size).reshape(size, size)
    families = [name.split("-")[0] for name in names]
    maps = tuple(
        MethodMaps(name, family, (k + 1) * ramp, height * (k + 1) * ramp.flip(0))
        for k, (name, family) in enumerate(zip(names, families, strict=True))
    )
    return CategoryNeuron(category, 0.97, 24.8, 5.3, 0.43, image, reference, tuple(examples), maps)


def test_the_two_maps_of_a_pair_are_on_one_scale() -> None:
    names = ["ours-layer", "ours-ig", "neuron-saliency"]
    neurons = [drawn("dog", names), drawn("fox", names, height=3.0), drawn("cat", names, height=0.0)]
    found = overlays(preferences_figure(neurons))
    expected = [
        (maps, np.quantile(np.stack([own.image.numpy(), own.reference.numpy()]), 0.99))
        for neuron in neurons
        for side in ("image", "reference")
        for own in neuron.maps
        for maps in [getattr(own, side)]
    ]
    assert len(found) == len(expected) == 18
    for (heat, norm), (maps, top) in zip(found, expected, strict=True):
        np.testing.assert_allclose(heat, maps.numpy())
        assert (norm.vmin, norm.vmax) == (0, pytest.approx(top))


def test_a_map_of_one_pixel_is_on_a_scale_up_to_that_pixel() -> None:
    neuron = drawn("dog", ["ours-layer"], size=20)
    point = torch.zeros(20, 20)
    point[3, 4] = 7
    maps = (MethodMaps("ours-layer", "ours", point, torch.zeros(20, 20)),)
    assert {norm.vmax for _, norm in overlays(preferences_figure([dataclasses.replace(neuron, maps=maps)]))} == {7}


def test_all_photographs_are_drawn_and_all_that_was_measured_is_written() -> None:
    neuron = drawn("dog", ["ours-layer", "similarity-grad-cam", "neuron-grad-cam"])
    figure = preferences_figure([neuron])
    bare = [np.asarray(axes.images[0].get_array()) for axes in figure.axes if len(axes.images) == 1]
    for photograph, shown in zip((*neuron.examples, neuron.image, neuron.reference), bare, strict=True):
        np.testing.assert_allclose(shown, photograph.picture.permute(1, 2, 0).numpy())
    written = texts(figure)
    for expected in ("dog", "0.97", "0.43", "24.8", "5.3", "23.5", "21.2", "    (wild_canine)", "layer"):
        assert expected in written
    assert written.count("grad-cam") == 2
    assert {"ours", "similarity", "neuron"} <= set(written)
    (note,) = [text.replace("\n", " ") for text in written if text.startswith("Each neuron")]
    assert note.endswith(
        "Methods explain: ours, the features that both images share; similarity, the similarity of the pair; neuron, "
        "the response to each image alone."
    )


def boxes(figure: Figure) -> list[tuple[float, float, float, float]]:
    """Left, bottom, right and top of the pictures, as shares of the figure."""
    return [axes.get_position().extents for axes in figure.axes if axes.images]


@pytest.mark.parametrize("n_methods", [0, 1, 6, 14])
def test_pictures_are_square_and_side_by_side_on_the_page(n_methods: int) -> None:
    names = [f"{('ours', 'neuron')[k % 4 == 3]}-method-{k}" for k in range(n_methods)]
    figure = preferences_figure([drawn("dog", names), drawn("cat", names)])
    width, height = figure.get_size_inches()
    found = boxes(figure)
    assert len(found) == 2 * (4 + 2 * n_methods)
    for left, bottom, right, top in found:
        assert (right - left) * width == pytest.approx((top - bottom) * height)
        assert 0.45 - 1e-9 <= (right - left) * width <= 0.7 + 1e-9
        assert 0 < left < right < 1 > top > bottom > 0
    page = figure.bbox.padded(1)
    for text in figure.texts:
        extent = text.get_window_extent()
        assert page.x0 <= extent.x0 <= extent.x1 <= page.x1, text.get_text()
        assert page.y0 <= extent.y0 <= extent.y1 <= page.y1, text.get_text()
    for index, first in enumerate(found):
        for second in found[:index]:
            apart = (first[0] - second[2], second[0] - first[2], first[1] - second[3], second[1] - first[3])
            assert max(apart) > 0


def test_text_beside_a_neuron_does_not_reach_the_next() -> None:
    names = [f"ours-{k}" for k in range(14)]
    figure = preferences_figure([drawn("dog", names), drawn("cat", names)])
    lowest, following = (
        text.get_window_extent()
        for text in figure.texts
        if text.get_text() in ("    (wild_canine)", "cat")
        and (text.get_text() == "cat" or text.get_position()[1] > 0.5)
    )
    assert lowest.y0 > following.y1


def test_neurons_without_the_same_methods_are_refused() -> None:
    with pytest.raises(ValueError, match="maps of the same methods, but cat has"):
        preferences_figure([drawn("dog", ["ours-layer"]), drawn("cat", ["ours-ig"])])
