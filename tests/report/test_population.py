"""All neurons of a study at a glance, in a browser: the table, the charts, and that they are linked."""

from pathlib import Path

import numpy as np
import pytest
from browsing import PHONE, Window, hindrances, overflow
from playwright.sync_api import Page, expect
from populations import neurons, population_study
from toy_study import neuron

from captum_shared.report.addresses import addresses
from captum_shared.report.page import Part, write_page
from captum_shared.report.population import population
from captum_shared.report.selectivity import d_prime
from captum_shared.study.result import NeuronResult

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    '"><b>{{7*7}}',
    "%{x}<a href='javascript:1'>",
)
N = 24


def written(folder: Path, made: list[NeuronResult]) -> Path:
    result = population_study(folder, made)
    known = addresses(result.neurons)
    target = "".join(f"{name} " for name in known.values())
    write_page(
        folder / "report.html",
        "Neurons",
        [population(result, known), Part("sentence.html.jinja", {"sentence": target})],
    )
    return folder / "report.html"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("population"), neurons(N))


def shown(page: Page) -> list[str]:
    return page.locator("#population-table tbody tr:not([hidden]) th").all_inner_texts()


def drawn(page: Page) -> None:
    page.wait_for_selector("#charts[data-drawn]")


def test_sorting_puts_what_is_not_known_last_either_way(window: Window, report: Path) -> None:
    ranked = [
        f"neuron {index}" for index in sorted(range(1, N), key=lambda index: neurons(N)[index].heldout_correlation)
    ]
    with window.page(report) as page:
        assert shown(page) == [f"neuron {index}" for index in range(N)]
        page.click("#population-table th[data-name=heldout] button")
        assert shown(page) == [*reversed(ranked), "neuron 0"]
        assert page.get_attribute("th[data-name=heldout]", "aria-sort") == "descending"
        page.keyboard.press("Enter")
        assert shown(page) == [*ranked, "neuron 0"]
        page.click("#population-table th[data-name=name] button")
        assert shown(page) == [f"neuron {index}" for index in range(N)]  # 10 after 9
        assert page.get_attribute("th[data-name=heldout]", "aria-sort") is None


def test_filters_narrow_each_other(window: Window, report: Path) -> None:
    both = [each for each in neurons(N) if (each.region, each.subject) == ("posterior", "second")]
    with window.page(report) as page:
        page.select_option("[name=region]", label="posterior")
        page.select_option("[name=subject]", label="second")
        assert shown(page) == [each.name for each in both]
        page.fill("[name=name]", "1")
        page.fill("[name=heldout-low]", "0.5")
        expected = [each.name for each in both if "1" in each.name and each.heldout_correlation >= 0.5]
        assert shown(page) == expected
        assert page.inner_text("#shown") == f"{len(expected)} of {N} neurons"
        page.click("[type=reset]")
        expect(page.locator("#shown")).to_have_text(f"{N} of {N} neurons")
        page.select_option("[name=state]", label="excluded")
        assert shown(page) == ["neuron 0"]
        assert "excluded: silent" in page.inner_text("#population-table tbody tr:not([hidden])")


def test_charts_and_table_tell_each_other(window: Window, report: Path) -> None:
    made = neurons(N)
    with window.page(report) as page:
        drawn(page)
        assert page.locator("#chart-encoding .trace").first.locator(".point").count() == N - 1  # one is not known
        page.hover("#population-table tbody tr[data-row='5'] td >> nth=0")
        ring = page.evaluate("[...document.querySelectorAll('#charts .chart')].map(e => [...e.data[1].x])")
        known = made[5]
        assert ring[0] == pytest.approx([known.ceiling])
        assert ring[1] == pytest.approx([known.ooc_mean])
        page.mouse.move(0, 0)
        points = page.locator("#chart-encoding .point").first
        points.scroll_into_view_if_needed()
        box = points.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2 - 20, box["y"])
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.wait_for_selector("#population-table tr.lit")
        lit = page.locator("#population-table tr.lit th").inner_text()
        assert lit in (page.text_content("#chart-encoding .hoverlayer") or "")
        page.mouse.down()
        page.mouse.up()
        page.wait_for_url(f"**#{addresses(made)[lit]}")


def test_a_box_in_a_chart_chooses_neurons(window: Window, report: Path) -> None:
    with window.page(report) as page:
        drawn(page)
        area = page.locator("#chart-responses .nsewdrag").first
        area.scroll_into_view_if_needed()
        box = area.bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x + 20, y + 30, steps=4)
        page.mouse.move(box["x"] + box["width"] - 2, box["y"] + box["height"] - 2, steps=8)
        page.mouse.up()
        expect(page.locator("#shown")).to_contain_text("chosen in a chart")
        box_drawn = page.evaluate("document.getElementById('chart-responses').layout.selections[0]")
        left, right = sorted((box_drawn["x0"], box_drawn["x1"]))
        expected = [each.name for each in neurons(N) if left <= each.ooc_mean <= right]
        assert 0 < len(expected) < N
        assert set(shown(page)) <= set(expected)
        page.wait_for_timeout(1000)  # the other charts follow with the next frame
        chosen = page.evaluate("document.getElementById('chart-encoding').data[0].selectedpoints.length")
        assert chosen == len([name for name in shown(page) if name != "neuron 0"])
        page.click("[type=reset]")
        expect(page.locator("#shown")).to_have_text(f"{N} of {N} neurons")


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_nobody_is_hindered(window: Window, report: Path, look: str) -> None:
    size = {"size": PHONE} if look == "phone" else {}
    with window.page(report, dark=look == "dark", bypass_csp=True, **size) as page:
        drawn(page)
        assert overflow(page) == 0
        assert hindrances(page) == []


def test_hostile_names_are_texts(window: Window, tmp_path: Path) -> None:
    made = [
        neuron(
            index,
            ("strong",),
            name=name,
            region=HOSTILE[index - 1],
            subject=name,
            null_interval=(-0.2, 0.21),
            ceiling=0.9,
        )
        for index, name in enumerate(HOSTILE)
    ]
    with window.page(written(tmp_path, made)) as page:
        drawn(page)
        assert shown(page) == [*HOSTILE]
        page.locator("#chart-responses .point").first.hover(force=True)
        page.wait_for_selector("#chart-responses .hovertext")
        assert page.locator("#population-table tr.lit th").inner_text() in page.text_content(
            "#chart-responses .hoverlayer"
        )
        assert page.locator("main img, main b, .hoverlayer a").count() == 0


def test_no_neuron_and_no_numbers(window: Window, tmp_path: Path) -> None:
    nothing = [NeuronResult(name, "", "", "silent", *[np.nan] * 6) for name in "AB"]
    with window.page(written(tmp_path, nothing)) as page:
        assert shown(page) == ["A", "B"]
        assert not page.is_visible("#charts")
    with window.page(written(tmp_path, [])) as page:
        assert page.is_visible("text=No neuron was recorded.")


def test_d_prime_is_the_difference_in_units_of_the_scatter() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(3, 1, (30, 2)), rng.normal(1, 2, (20, 2))
    inside[:28, 1] = np.nan
    outside[1:, 1] = np.nan
    pooled = np.sqrt((inside[:, 0].var(ddof=1) + outside[:, 0].var(ddof=1)) / 2)
    values = d_prime(inside, outside)
    assert values[0] == pytest.approx((inside[:, 0].mean() - outside[:, 0].mean()) / pooled)
    assert np.isnan(values[1])  # a single response tells no scatter
