"""The page of a benchmark: its table, its chart, and the maps of the hardest pairs."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from browsing import PHONE, Window, hindrances, overflow
from matplotlib.colors import Normalize
from toys import Pair, seeded, small_similarity

from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.evaluation.hardest import hard_pairs
from captum_shared.evaluation.run import Extent, run_benchmark
from captum_shared.evaluation.tasks.design import Task, Trial
from captum_shared.methods.method import Method
from captum_shared.methods.registry import methods_by_name
from captum_shared.report.hard_pairs import outlined, under
from captum_shared.report.kinds import write_report

SIZE, PAIRS = 12, 14
HOSTILE = "<img src=x onerror=alert(1)>"


def trial(index: int) -> Trial:
    cells = torch.arange(4).reshape(2, 2).repeat_interleave(SIZE // 2, 0).repeat_interleave(SIZE // 2, 1)
    regions = torch.stack([torch.stack([cells == (kind + index) % 4 for kind in range(4)])] * 2)
    contents = ((f"<b>{index}</b>", "b", "s", "m"), ("a", "c", "s", "n"), ("c", "c", "s", "n"))
    return Trial(seeded(index, 3, 3, SIZE, SIZE, dtype=torch.float32), regions, contents, index % 4)


TASK = Task("toy", small_similarity(), trial, {"seed": 0})


def loudest(similarity: NeuronSimilarity, pair: Pair, target: torch.Tensor) -> Pair:
    return pair[0].detach().abs(), pair[1].detach().abs()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("benchmark") / "out"
    chosen = [*methods_by_name(["random", "recommended", "paper"]), Method(HOSTILE, "ours", loudest, kind="gradient")]
    run_benchmark(TASK, chosen, extent=Extent(PAIRS), output=output, progress=False)
    write_report(output)
    return output


def test_the_hardest_pairs_come_first_with_their_own_maps(folder: Path) -> None:
    names = json.loads((folder / "results.json").read_text())["settings"]["methods"]
    pairs = hard_pairs(folder / "maps.npz", names)
    masses = []
    for index in range(PAIRS):
        made = trial(index)
        inputs = (made.images[:1].double(), made.images[1:2].double())
        maps = methods_by_name(["recommended"])[0].maps(TASK.similarity, inputs, torch.tensor([made.neuron]))
        inside = [
            float(heat[0][region[0]].sum() / heat.sum()) if heat.any() else 0.0  # where nothing is, nothing is right
            for heat, region in zip(maps, made.regions, strict=True)
        ]
        masses.append(sum(inside) / 2)
    expected = sorted(range(PAIRS), key=lambda index: masses[index])[:12]
    assert [pair.mass["recommended"] for pair in pairs] == pytest.approx(
        [masses[index] for index in expected], abs=1e-5
    )
    assert [pair.index for pair in pairs] == expected
    for pair in pairs:
        made = trial(pair.index)
        assert (pair.neuron, pair.answer) == (made.neuron, f"<b>{pair.index}</b>")
        np.testing.assert_array_equal(pair.regions, made.regions[:, 0].numpy())
        seen = (made.images[:2].clamp(0, 1) * 255).round().permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal(pair.pictures, seen)


def test_the_page_sorts_draws_and_shows_hostile_names_as_text(window: Window, folder: Path) -> None:
    methods = json.loads((folder / "results.json").read_text())["methods"]
    ranked = [each["name"] for each in sorted(methods, key=lambda each: -each["scores"]["mass"]["value"])]
    with window.page(folder / "report.html") as page:
        page.wait_for_selector("#forest[data-drawn]")
        page.click("th[data-name='scores-mass'] button")
        assert page.locator("#scores-table tbody th").all_inner_texts() == ranked
        page.select_option("#forest-score", label="mass")
        page.wait_for_timeout(500)
        values = page.evaluate("[...document.getElementById('forest-chart').data[0].x]")
        assert values == [each["scores"]["mass"]["value"] for each in methods]
        assert page.locator(".hard").count() == 12
        assert page.locator(".hard[open] .maps figure").count() == 1 + len(methods)
        assert page.locator("main b, img[onerror]").count() == 0


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_nobody_is_hindered(window: Window, folder: Path, look: str) -> None:
    size = {"size": PHONE} if look == "phone" else {}
    with window.page(folder / "report.html", dark=look == "dark", bypass_csp=True, **size) as page:
        page.wait_for_selector("#forest[data-drawn]")
        assert overflow(page) == 0
        assert hindrances(page) == []


def test_results_of_an_older_version_say_what_is_missing(window: Window, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes((folder / "results.json").read_bytes())
    with window.page(write_report(tmp_path / "results.json")) as page:
        assert page.locator("#scores-table tbody tr").count() == 4
        assert page.is_visible("text=beside the results is no maps.npz")


def test_damaged_results_are_told(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(ValueError, match="Expected a readable benchmark written by captum-shared"):
        write_report(tmp_path)


def test_a_map_covers_what_it_marks_and_the_region_is_outlined() -> None:
    picture, region = np.full((9, 9, 3), 255, np.uint8), np.zeros((9, 9), bool)
    region[2:7, 2:7] = True
    heat = np.zeros((9, 9), np.float32)
    heat[4, 4] = 1.0
    drawn = under(picture, heat, region, norm=Normalize(0, 1))
    assert drawn[4, 4].tolist() == [252, 255, 178]  # 0.85 of the top of inferno, (252, 255, 164), and the rest white
    assert drawn[0, 0].tolist() == [255, 255, 255]  # no map: the picture as it is, pale
    np.testing.assert_array_equal((drawn == [0, 255, 255]).all(2), region & ~np.pad(np.ones((3, 3), bool), 3))
    np.testing.assert_array_equal(outlined(picture, np.zeros((9, 9), bool)), picture)
