"""Pairs of known answer: the design, drawn parts, grids of photographs, and the ceiling."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from toys import Randomised, hooks, pair, readout, small_net

from captum_shared import LatentFeatures, NeuronSimilarity, SharedCorrespondence
from captum_shared.evaluation.tasks import grid as grids
from captum_shared.evaluation.tasks import parts as drawings
from captum_shared.evaluation.tasks.ceiling import cells_alone
from captum_shared.evaluation.tasks.design import Task, Trial, factorial_design, one_shared_design
from captum_shared.images import load_images, rgb_preprocess

CATEGORIES = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen", "ibis", "jay"]
SIDE = 8


def check_design(contents: tuple[tuple[str, ...], ...], drivers: set[str]) -> None:
    """The 2 x 2 design, and a control that drives the neuron by what the image does not hold."""
    image, reference, control = contents
    assert [part in drivers for part in image] == [True, True, False, False]
    assert [part in drivers for part in reference] == [True, True, False, False]
    answer, own, shared, neither = image
    assert len(set(image)) == len(set(reference)) == 4
    assert (reference[0], reference[2]) == (answer, shared)
    assert own not in reference
    assert neither not in reference
    assert reference[1] not in image
    assert reference[3] not in image
    assert control[0] in drivers
    assert not set(control) & drivers & set(image)
    assert control[2:] == reference[2:]


def same(one: Trial, other: Trial) -> bool:
    return (
        torch.equal(one.images, other.images)
        and torch.equal(one.regions, other.regions)
        and (one.contents, one.neuron) == (other.contents, other.neuron)
    )


def cells_of(image: Tensor) -> list[Tensor]:
    return [cell for half in image.chunk(2, 1) for cell in half.chunk(2, 2)]


def quadrants(trial: Trial) -> Tensor:
    """Pixels of each region in each quadrant: (side, kind, quadrant)."""
    halves = [half.chunk(2, 3) for half in trial.regions.chunk(2, 2)]
    return torch.stack([cell.sum((2, 3)) for row in halves for cell in row], 2)


class FixedSize(nn.Module):
    """Patches of two by two pixels as tokens, of images of sixteen by sixteen only."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 5, 2, stride=2))
        self.tokens = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        torch._assert(images.shape[2] == 16, "16 x 16 pixels only")
        return self.tokens(self.conv(images).flatten(2).mT)


@pytest.mark.parametrize("seed", range(20))
def test_contents_follow_the_design(seed: int) -> None:
    contents = factorial_design(list("abcd"), list("st"), list("lmn"), np.random.default_rng(seed))
    check_design(contents, set("abcd"))
    assert contents[0][2] in "st"
    assert {contents[0][3], contents[1][3]} < set("lmn")


def test_every_choice_of_the_design_occurs() -> None:
    rng = np.random.default_rng(0)
    designs = {factorial_design(list("abc"), list("st"), list("mn"), rng) for _ in range(400)}
    assert len(designs) == 6 * 2 * 2


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """What the readouts were fitted on."""
    return {}


@pytest.fixture(scope="module")
def parts(recorded: dict[str, Any]) -> Task:
    original = drawings.record

    def record(neurons: list[Any], figures: list[Any], **options: Any) -> Any:
        recorded.update(neurons=neurons, figures=figures)
        return original(neurons, figures, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawings, "record", record)
        return drawings.parts_task(n_neurons=3, n_fitted=6, seed=4)


class TestParts:
    def test_it_is_the_same_for_a_seed_and_another_for_another(self, parts: Task) -> None:
        again = drawings.parts_task(n_neurons=3, n_fitted=6, seed=4)
        assert torch.equal(parts.similarity.readout.weight, again.similarity.readout.weight)
        assert parts.settings == again.settings
        other = drawings.parts_task(n_neurons=3, n_fitted=6, seed=5)
        assert not torch.equal(parts.similarity.readout.weight, other.similarity.readout.weight)
        for place in (4, 0, 4):
            assert same(parts.trial(place), again.trial(place))
            assert not same(parts.trial(place), other.trial(place))

    def test_trials_do_not_depend_on_their_order(self, parts: Task) -> None:
        forwards = [parts.trial(place) for place in range(4)]
        torch.rand(3)
        backwards = [parts.trial(place) for place in reversed(range(4))][::-1]
        assert all(same(one, other) for one, other in zip(forwards, backwards, strict=True))
        assert len({trial.images.sum().item() for trial in forwards}) == 4

    def test_contents_follow_the_design_of_each_neuron(self, parts: Task, recorded: dict[str, Any]) -> None:
        tunings = [set(neuron.tuning) for neuron in recorded["neurons"]]
        assert all(len(tuning) == 3 for tuning in tunings)
        for place in range(9):
            trial = parts.trial(place)
            assert trial.neuron == place % 3
            check_design(trial.contents, tunings[trial.neuron])

    def test_regions_are_where_the_parts_show(self, parts: Task, monkeypatch: pytest.MonkeyPatch) -> None:
        drawn = []
        original = drawings.compose

        def compose(*arguments: Any, **options: Any) -> Any:
            drawn.append(original(*arguments, **options))
            return drawn[-1]

        monkeypatch.setattr(drawings, "compose", compose)
        for place in range(6):
            drawn.clear()
            trial = parts.trial(place)
            kept = [next(masks for image, masks in drawn if torch.equal(image, each)) for each in trial.images]
            for regions, masks, names in zip(trial.regions, kept, trial.contents, strict=False):
                assert torch.equal(regions, torch.stack([masks[name] for name in names]))
            assert set(kept[2]) == set(trial.contents[2])
            assert int(trial.regions.sum(1).max()) == 1
            shown = quadrants(trial)
            assert bool(((shown > 0).sum(1) == 1).all()), "one part a quadrant"
            assert bool(((shown > 0).sum(2) == 1).all()), "one quadrant a part"
            assert int(shown.sum(2).min()) >= 50

    def test_a_drawing_in_which_a_part_does_not_show_is_made_again(
        self, parts: Task, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawn = []
        original = drawings.compose

        def compose(*arguments: Any, **options: Any) -> Any:
            image, masks = original(*arguments, **options)
            drawn.append(image)
            return image, (dict(list(masks.items())[1:]) if len(drawn) == 1 else masks)

        monkeypatch.setattr(drawings, "compose", compose)
        trial = parts.trial(0)
        assert len(drawn) >= 4
        assert not any(torch.equal(image, drawn[0]) for image in trial.images)

    def test_no_image_that_was_fitted_is_in_a_pair(self, parts: Task, recorded: dict[str, Any]) -> None:
        assert len(recorded["figures"]) == 12
        fitted = torch.stack([figure.image for figure in recorded["figures"]]).flatten(1)
        shown = torch.cat([parts.trial(place).images for place in range(4)]).flatten(1)
        assert float(torch.cdist(fitted, shown).min()) > 1

    def test_its_settings_say_how_it_was_made(self, parts: Task) -> None:
        assert parts.name == "parts"
        assert parts.settings == {"n_neurons": 3, "n_fitted": 6, "seed": 4, "layer": "features"}
        assert bool((parts.similarity.readout.feature_mean > 0).any()), "centred"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten categories of 12 or 13 photographs of noise, one that is too small, and one of no category."""
    root = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(0)
    for place, category in enumerate([*CATEGORIES, "few", "Other"]):
        (root / category).mkdir()
        for index in range(11 if category == "few" else 12 + place % 2):
            noise = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            Image.fromarray(noise).save(root / category / f"{index:02d}.png")
    return root


@pytest.fixture(scope="module")
def features() -> LatentFeatures:
    encoder = LatentFeatures(small_net(), "features")
    encoder.preprocess = rgb_preprocess(SIDE)
    return encoder


@pytest.fixture(scope="module")
def fitted() -> dict[str, Any]:
    """What the readouts were fitted to."""
    return {}


@pytest.fixture(scope="module")
def grid(folder: Path, features: LatentFeatures, fitted: dict[str, Any]) -> Task:
    original = grids.fit_readout

    def fit_readout(latent: Tensor, responses: np.ndarray, **options: Any) -> Any:
        fitted.update(latent=latent, responses=responses)
        return original(latent, responses, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grids, "fit_readout", fit_readout)
        return grids.grid_task(folder, features, n_neurons=13, seed=2)


@pytest.fixture(scope="module")
def photographs(folder: Path) -> dict[str, Tensor]:
    """All photographs of a category, as the network sees them."""
    return {
        name: load_images(sorted((folder / name).iterdir()), rgb_preprocess(SIDE))
        for name in [*CATEGORIES, "few", "Other"]
    }


class TestGrid:
    @staticmethod
    def drivers(grid: Task) -> list[set[str]]:
        return [set(name.rsplit(" (", 1)[0].split(" + ")) for name in grid.similarity.readout.neuron_names]

    def test_it_is_the_same_for_a_seed_and_another_for_another(
        self, grid: Task, folder: Path, features: LatentFeatures
    ) -> None:
        again, other = (grids.grid_task(folder, features, n_neurons=13, seed=seed) for seed in (2, 3))
        assert torch.equal(grid.similarity.readout.weight, again.similarity.readout.weight)
        assert grid.settings == again.settings
        for place in (20, 0, 20, 7):
            assert same(grid.trial(place), again.trial(place))
            assert not same(grid.trial(place), other.trial(place))

    def test_contents_follow_the_design_of_each_neuron(self, grid: Task) -> None:
        drivers = self.drivers(grid)
        assert len({frozenset(three) for three in drivers[:10]}) == 10, "all threes before one again"
        for place in range(26):
            trial = grid.trial(place)
            assert trial.neuron == place % 13
            check_design(trial.contents, drivers[trial.neuron])
            assert {trial.contents[0][2], *drivers[trial.neuron]} <= set(CATEGORIES[5:])
            assert {trial.contents[0][3], trial.contents[1][3]} <= set(CATEGORIES[:5])

    def test_readouts_are_fitted_on_every_second_photograph(
        self, grid: Task, features: LatentFeatures, photographs: dict[str, Tensor], fitted: dict[str, Any]
    ) -> None:
        chosen = [photographs[name][::2] for name in CATEGORIES]
        with torch.no_grad():
            torch.testing.assert_close(fitted["latent"], features(torch.cat(chosen).double()))
        labels = np.repeat(CATEGORIES, [len(each) for each in chosen])
        for neuron, drivers in enumerate(self.drivers(grid)):
            responses = fitted["responses"][:, neuron]
            np.testing.assert_allclose(responses * 3.2, np.round(responses * 3.2), atol=1e-9)
            for name in CATEGORIES:
                mean = responses[labels == name].mean()
                assert 9 < mean < 23 if name in drivers else 2 < mean < 6.5

    def test_cells_are_photographs_that_were_not_fitted(self, grid: Task, photographs: dict[str, Tensor]) -> None:
        for place in range(26):
            trial = grid.trial(place)
            assert trial.images.shape == (3, 3, 2 * SIDE, 2 * SIDE)
            shown = quadrants(trial)
            assert bool((shown.sum(1) == SIDE**2).all())
            assert bool((shown.amax(2) == SIDE**2).all())
            cells = self.cells(trial, photographs)
            assert all(index % 2 == 1 for image in cells for _, index in image)
            image, reference, control = cells
            assert len({*image, *reference, control[0]}) == 9
            assert control[1:] == reference[1:]
            assert [[name for name, _ in each] for each in cells] == [list(names) for names in trial.contents]

    @staticmethod
    def cells(trial: Trial, photographs: dict[str, Tensor]) -> list[list[tuple[str, int]]]:
        """Which photograph is in each region; the control lies as the reference does."""
        found = []
        for image, regions in zip(trial.images, trial.regions[[0, 1, 1]], strict=True):
            cells = [image[:, region].reshape(3, SIDE, SIDE) for region in regions]
            found.append(
                [
                    next(
                        (name, index)
                        for name, each in photographs.items()
                        for index in range(len(each))
                        if torch.equal(each[index], cell)
                    )
                    for cell in cells
                ]
            )
        return found

    def test_what_is_tuned_on_is_not_reported(self, grid: Task, folder: Path, features: LatentFeatures) -> None:
        tuned = grids.grid_task(folder, features, half="development")
        assert tuned.settings["categories"] == grid.settings["neither"] == CATEGORIES[:5]
        assert tuned.settings["neither"] == grid.settings["categories"] == CATEGORIES[5:]
        assert not set.union(*self.drivers(tuned)) & set.union(*self.drivers(grid))
        whole = grids.grid_task(folder, features, half="all")
        assert (whole.settings["categories"], whole.settings["neither"]) == (CATEGORIES[:8], CATEGORIES[8:])

    def test_its_settings_tell_photographs_and_networks_apart(
        self, grid: Task, folder: Path, features: LatentFeatures, tmp_path: Path
    ) -> None:
        moved = tmp_path / "moved"
        folder.rename(moved)
        try:
            assert grids.grid_task(moved, features, n_neurons=13, seed=2).settings == grid.settings
        finally:
            moved.rename(folder)
        network = LatentFeatures(small_net(1), "features", pool="max")
        network.preprocess = features.preprocess
        path = folder / "ant" / "12_more.png"
        Image.new("RGB", (SIDE, SIDE)).save(path)
        other = grids.grid_task(folder, network, n_neurons=13, seed=2).settings
        path.unlink()
        assert {name for name in other if other[name] != grid.settings[name]} == {
            "photographs",
            "weights",
            "pool",
            "layers",
        }

    def test_the_layer_that_predicts_best_is_taken(self, folder: Path, grid: Task, features: LatentFeatures) -> None:
        blind = LatentFeatures(nn.Sequential(nn.Conv2d(3, 2, 1), nn.Tanh()), "1")
        blind.preprocess = features.preprocess
        nn.init.zeros_(blind.network.get_submodule("0").weight)  # type: ignore[arg-type]
        for encoders in ([blind, features], [features, blind]):
            task = grids.grid_task(folder, encoders, n_neurons=13, seed=2)
            assert task.settings["layers"].keys() == {"1", "features"}
            assert task.settings["layers"]["1"] < task.settings["layers"]["features"]
            assert {**task.settings, "layers": None} == {**grid.settings, "layers": None}
            assert torch.equal(task.similarity.readout.weight, grid.similarity.readout.weight)
            assert task.similarity.image_features is features

    @pytest.mark.usefixtures("as_installed")
    def test_what_is_wrong_is_said(self, folder: Path, features: LatentFeatures, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="half must be one of development, report, all, but got 'half'"):
            grids.grid_task(folder, features, half="half")  # type: ignore[arg-type]
        with pytest.raises(FileNotFoundError, match=r"got no folder at .*nowhere: check the path"):
            grids.grid_task(tmp_path / "nowhere", features)
        unprepared = LatentFeatures(small_net(), "features")
        with pytest.raises(ValueError, match=r"features\.preprocess is None\. Set it"):
            grids.grid_task(folder, unprepared)
        for name in CATEGORIES[:5]:
            shutil.copytree(folder / name, tmp_path / "five" / name)
        with pytest.raises(
            ValueError, match=r"8 or more categories \(6 with half 'all'\).*got 5: ant, bee, cat, dog, eel\. Add some"
        ):
            grids.grid_task(tmp_path / "five", features, half="all")
        with pytest.raises(ValueError, match="cut at different layers, got features, features"):
            grids.grid_task(folder, [features, features])
        with pytest.raises(ValueError, match="cut at different layers, got none"):
            grids.grid_task(folder, [])
        with pytest.raises(ValueError, match="neurons or none, got n_neurons=-1"):
            drawings.parts_task(n_neurons=-1)
        with pytest.raises(ValueError, match="7 or more contents for pairs that share one, got 6"):
            one_shared_design(["a"], list("abcdef"), np.random.default_rng(0))

    def test_a_network_of_one_size_gets_grids_of_that_size(self, folder: Path, features: LatentFeatures) -> None:
        picky = LatentFeatures(nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE**2, 4)), "1")
        picky.preprocess = features.preprocess
        task, larger = (grids.grid_task(folder, each, n_neurons=2) for each in (picky, features))
        assert (task.settings["size"], larger.settings["size"]) == ([SIDE, SIDE], [2 * SIDE, 2 * SIDE])
        trial, other = task.trial(1), larger.trial(1)
        assert trial.images.shape == (3, 3, SIDE, SIDE)
        assert bool((quadrants(trial) == quadrants(other) / 4).all())
        for image, whole in zip(trial.images, other.images, strict=True):
            for cell, photograph in zip(cells_of(image), cells_of(whole), strict=True):
                torch.testing.assert_close(cell.double().mean(), photograph.double().mean(), rtol=0.1, atol=0.02)


class TestCeiling:
    def test_it_is_the_correspondence_of_cells_that_nothing_reaches_beyond(self) -> None:
        """The slow definition: every place of every cell alone against every other."""
        similarity = NeuronSimilarity(LatentFeatures(small_net(), "features"), readout(5))
        inputs, neuron = pair(size=28, n=1), 3
        weights, mean = similarity.readout.weight, similarity.readout.feature_mean
        sides = []
        for images in inputs:
            places = {}
            for row, column in np.ndindex(2, 2):
                cell = images[..., 14 * row : 14 * row + 14, 14 * column : 14 * column + 14]
                activation = similarity.image_features.network(cell).detach()
                height, width = activation.shape[2:]
                reach = int(2 / 3 * height / 2)
                for r, c in np.ndindex(height, width):
                    rows, columns = (slice(max(0, at - reach), at + reach + 1) for at in (r, c))
                    places[row * height + r, column * width + c] = activation[0, :, rows, columns].mean((1, 2)) - mean
            drive = {at: float((weights[neuron] @ x).clamp(min=0)) for at, x in places.items()}
            sides.append((places, {at: value / sum(drive.values()) for at, value in drive.items()}))
        (first, drive), (second, other) = sides
        expected = torch.zeros(2 * height, 2 * width).double()
        for at, x in first.items():
            for there, y in second.items():
                cosines = [
                    nn.functional.cosine_similarity(a, b, dim=0).clamp(min=0)
                    for a, b in ((x, y), (weights @ x, weights @ y))
                ]
                expected[at] += drive[at] * float((cosines[0] * cosines[1] ** 2) ** 2) * other[there]
        found = cells_alone(similarity, inputs, torch.tensor([neuron]))
        assert float(expected.sum()) > 0
        torch.testing.assert_close(found[0][0, 0], expected)
        assert float(found[1].sum()) == pytest.approx(float(expected.sum()))

    def test_where_neither_network_nor_window_reaches_far_it_is_the_correspondence(self) -> None:
        network = Randomised(0)(lambda: nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU()))
        similarity = NeuronSimilarity(LatentFeatures(network, "1"), readout(5))
        inputs, neurons = pair(size=4, n=3), torch.tensor([0, 3, 1])
        expected = SharedCorrespondence(similarity).attribute(inputs, neurons)
        for one, other in zip(cells_alone(similarity, inputs, neurons), expected, strict=True):
            torch.testing.assert_close(one, other)
        wider = pair(size=12, n=3)
        expected = SharedCorrespondence(similarity).attribute(wider, neurons)
        assert not torch.allclose(cells_alone(similarity, wider, neurons)[0], expected[0])

    def test_a_network_of_one_size_sees_every_cell_where_it_is_amid_grey(self) -> None:
        """Tokens that see their own patch alone: there what is around a cell does not matter."""
        fixed = Randomised(0)(FixedSize)
        similarity = NeuronSimilarity(LatentFeatures(fixed, "tokens"), readout(5))
        free = NeuronSimilarity(LatentFeatures(fixed.conv, "0"), similarity.readout)
        inputs, neurons = pair(size=16, n=3), torch.tensor([0, 3, 1])
        for one, other in zip(*(cells_alone(each, inputs, neurons) for each in (similarity, free)), strict=True):
            assert one.shape == (3, 1, 8, 8)
            torch.testing.assert_close(one, other)

    def test_the_similarity_stays_as_it_is(self) -> None:
        similarity = NeuronSimilarity(LatentFeatures(small_net(), "features"), readout(5)).train()
        inputs = pair(size=20)
        network = similarity.image_features.network
        before = similarity(*inputs), hooks(similarity), [part.training for part in similarity.modules()]
        cells_alone(similarity, inputs, torch.tensor([0, 1]))
        assert similarity.image_features.network is network
        assert torch.equal(similarity(*inputs), before[0])
        assert (hooks(similarity), [part.training for part in similarity.modules()]) == before[1:]
