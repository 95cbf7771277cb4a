"""Pairs in a real browser: what sliders, methods, components, outlines and pointing draw."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browsing import PHONE, Window, hindrances, overflow
from matplotlib import colormaps
from pairs import GRID, HOSTILE, evidence, study, with_evidence
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from captum_shared.report import write_study_report

PAIR = "#neuron-n1-pair-1"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    write_study_report(with_evidence(study(folder)), folder / "report.html")
    return folder / "report.html"


@pytest.fixture
def page(window: Window, file: Path) -> Iterator[Page]:
    with window.page(file, fragment="#neuron-n1") as opened:
        opened.wait_for_selector("#neuron-n1[data-drawn]")
        yield opened


def pixels(page: Page, side: int) -> np.ndarray:
    address = page.evaluate(f"document.querySelector(`{PAIR} canvas[data-side='{side}']`).toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.split(",")[1]))).convert("RGB")).astype(int)


def shares(lit: np.ndarray, bare: np.ndarray) -> np.ndarray:
    """What share of the scale the colour in the middle of every cell stands for, over the picture as it is bare."""
    levels = np.linspace(0, 1, 256)[:, None]
    colours, opacity = 255 * colormaps["inferno"](levels[:, 0])[:, :3], 0.85 * np.clip(2 * levels, 0, 1)
    middles = [int((cell + 0.5) * len(lit) / GRID) for cell in range(GRID)]
    told = [
        [np.abs(opacity * colours + (1 - opacity) * bare[y, x] - lit[y, x]).sum(1).argmin() for x in middles]
        for y in middles
    ]
    return np.array(told) / 255


def control(page: Page, name: str) -> Locator:
    return page.locator(f'{PAIR} [data-control="{name}"]')


def slide(page: Page, name: str, value: int) -> None:
    control(page, name).fill(str(value))


def test_opacity_and_threshold_uncover_the_picture(page: Page) -> None:
    first = pixels(page, 0)
    slide(page, "threshold", 100)
    bare = pixels(page, 0)
    assert np.abs(first - bare).max() > 100  # the end of the ramp was bright
    slide(page, "opacity", 0)
    plain = pixels(page, 0)
    assert np.ptp(plain, axis=2).mean() > 5 * np.ptp(bare[: len(bare) // 2], axis=2).mean()  # in colour again
    control(page, "reset").click()
    np.testing.assert_array_equal(pixels(page, 0), first)


def test_a_threshold_is_told_in_the_unit_of_the_maps(page: Page) -> None:
    slide(page, "threshold", 50)
    assert page.locator(f'{PAIR} [data-for="threshold"]').inner_text() == "from 0.005"  # a quarter of 0.02: by the root


def test_the_scale_is_that_of_the_method(page: Page) -> None:
    labels = page.locator(f"{PAIR} .bar li")
    assert labels.all_inner_texts() == ["0", "0.00125", "0.005", "0.0112", "0.02"]
    before = pixels(page, 1)
    control(page, "method").nth(1).check()
    assert labels.all_inner_texts() == ["0", "0.5", "1", "1.5", "2"]
    assert (pixels(page, 1) != before).any()
    assert "similarity per unit of the network's input" in page.locator(f"{PAIR} .unit").inner_text()


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("cell", [(1, 2), (5, 3)])
def test_pointing_lights_what_is_matched(page: Page, side: int, cell: tuple[int, int]) -> None:
    """The highest colour of the scale in the other picture is where C is largest."""
    whole = evidence(10).correspondence
    oriented = whole if side == 0 else whole.transpose(2, 3, 0, 1)
    row, column = cell
    canvas = page.locator(f"{PAIR} canvas[data-side='{side}']")
    box = canvas.bounding_box()
    assert box is not None
    spot = {"x": box["width"] * (column + 0.5) / GRID, "y": box["height"] * (row + 0.5) / GRID}
    slide(page, "threshold", 100)
    bare = pixels(page, 1 - side)
    canvas.click(position=spot)
    drawn = shares(pixels(page, 1 - side), bare)
    expected = oriented[row, column]
    assert np.unravel_index(drawn.argmax(), drawn.shape) == np.unravel_index(expected.argmax(), expected.shape)
    strength = 100 * oriented[row, column].sum() / oriented.sum((2, 3)).max()
    told = page.locator(f"{PAIR} .told").inner_text()
    assert "In the reference" in told if side == 0 else "In the image" in told
    assert int(told.split(" %")[0].split()[-1]) == pytest.approx(strength, abs=2)


def test_a_place_that_matches_nothing_says_so_and_escape_lets_go(page: Page) -> None:
    canvas = page.locator(f"{PAIR} canvas[data-side='0']")
    before = pixels(page, 1)
    canvas.focus()
    for key in ("ArrowLeft", *["ArrowLeft"] * GRID, *["ArrowUp"] * GRID):
        canvas.press(key)
    assert page.locator(f"{PAIR} .told").inner_text() == "Not found in the reference."
    canvas.press("Escape")
    np.testing.assert_array_equal(pixels(page, 1), before)


def test_components_and_outline_are_drawn_on_request(page: Page) -> None:
    plain = pixels(page, 0)
    control(page, "significant").check()
    outlined = pixels(page, 0)
    cyan = (np.abs(outlined - [0, 229, 255]).sum(2) < 30) & (np.abs(plain - [0, 229, 255]).sum(2) > 90)
    rows, columns = np.nonzero(cyan)
    size = len(plain) / 28
    np.testing.assert_allclose(
        [rows.min(), rows.max(), columns.min(), columns.max()], np.array([8, 20, 8, 20]) * size, atol=size
    )
    control(page, "components").check()
    assert (pixels(page, 0) != outlined).any()
    assert page.locator(f"{PAIR} .bar").is_hidden()


def test_neurons_are_reached_by_keys_and_addresses(page: Page) -> None:
    page.locator("#neuron-n1 summary").focus()
    page.keyboard.press("p")
    page.wait_for_selector("#neuron-n0[data-drawn]")
    assert page.evaluate("location.hash") == "#neuron-n0"
    assert page.locator("details.neuron[open]").count() == 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_hinders_people(window: Window, file: Path, dark: bool) -> None:
    with window.page(file, fragment="#neuron-n1", dark=dark, bypass_csp=True) as page:
        page.wait_for_selector("#neuron-n1[data-drawn]")
        assert hindrances(page) == []


def test_a_phone_is_wide_enough(window: Window, file: Path) -> None:
    with window.page(file, fragment="#neuron-n1", size=PHONE) as page:
        page.wait_for_selector("#neuron-n1[data-drawn]")
        assert overflow(page) <= 0


def test_hostile_names_are_inert(window: Window, tmp_path: Path) -> None:
    write_study_report(with_evidence(study(tmp_path, HOSTILE)), tmp_path / "report.html")
    with window.page(tmp_path / "report.html", size=PHONE) as page:
        title = page.title()
        for details in page.locator("details.neuron").all():
            details.locator("summary").click()
        expect(page.locator("details[data-drawn]")).to_have_count(len(HOSTILE), timeout=20_000)
        assert page.title() == title
        assert page.locator("details.neuron [data-pair]").count() == 2 * len(HOSTILE)
        assert overflow(page) <= 0
