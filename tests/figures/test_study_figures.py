"""The figures of a study: what they show are the numbers of the result."""

import dataclasses
import gc
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from scipy.stats import sem
from toy_study import SIZE, neuron, overlays, points, study, texts

from captum_shared.figures import (
    architectures_figure,
    encoding_figure,
    faint_figure,
    integrated_gradients_figure,
    pair_panels_figure,
    response_figure,
    save_figure,
    write_figures,
)
from captum_shared.figures.overlay import ABSOLUTE_TOP
from captum_shared.figures.shown import method_shown
from captum_shared.study.result import StudyResult


def marks(axes: Axes, label: str) -> Line2D:
    (found,) = [line for line in axes.get_lines() if line.get_label() == label]
    return found


@pytest.fixture
def two_regions(tmp_path: Path) -> StudyResult:
    return study(
        tmp_path,
        [
            neuron(0, region="B"),
            neuron(1, region="A", reliability=math.nan),
            neuron(2, region="A"),
            neuron(3, region="A", excluded="silent", pairs=(), heldout_correlation=math.nan),
            neuron(4, region="B", ooc_correlation=-0.5),
        ],
    )


def from_left(axes: Axes, label: str) -> list[float]:
    line = marks(axes, label)
    return list(np.asarray(line.get_ydata())[np.argsort(line.get_xdata())])


def test_every_correlation_is_drawn_the_best_of_a_region_first(two_regions: StudyResult) -> None:
    inside, _, outside, _ = encoding_figure(two_regions).axes
    # region B, which is recorded first, then A
    np.testing.assert_allclose(from_left(inside, "held-out images"), [0.34, 0.30, 0.32, 0.31])
    np.testing.assert_allclose(from_left(inside, "reliability"), [0.84, 0.8, 0.82, np.nan])
    np.testing.assert_allclose(from_left(outside, "other categories"), [-0.5, 0.2, 0.22, 0.21])
    np.testing.assert_allclose(from_left(outside, "reliability"), [0.74, 0.7, 0.72, 0.71])
    assert [label.get_text() for label in outside.get_xticklabels()] == ["n4", "n0", "n2", "n1", "n3"]
    assert [text.get_text() for text in inside.texts] == ["B", "A"]
    assert outside.get_ylim()[0] < -0.5


def test_the_null_intervals_are_shaded_where_they_belong(two_regions: StudyResult) -> None:
    for axes, interval in zip(encoding_figure(two_regions).axes, [(-0.2, 0.21)] * 2 + [(-0.1, 0.11)] * 2, strict=True):
        (band,) = axes.patches
        extent = band.get_window_extent().transformed(axes.transData.inverted())
        np.testing.assert_allclose((extent.y0, extent.y1), interval)


def test_means_leave_out_the_excluded_and_the_unknown(two_regions: StudyResult) -> None:
    figure = encoding_figure(two_regions)
    means = figure.axes[1]
    bars = [(bar.lines[0].get_ydata()[0], [one.get_segments()[0] for one in bar.lines[2]]) for bar in means.containers]
    heights = [height for height, _ in bars]
    np.testing.assert_allclose(heights, [0.32, 0.82, 0.315, 0.82, np.mean([0.3, 0.31, 0.32, 0.34]), 0.82])
    error = sem([0.3, 0.31, 0.32, 0.34])
    np.testing.assert_allclose(bars[4][1][0][:, 1], [heights[4] - error, heights[4] + error])
    assert [label.get_text() for label in figure.axes[3].get_xticklabels()] == ["B (2)", "A (2)", "all (4)"]
    note = figure.get_supxlabel().replace("\N{NO-BREAK SPACE}", " ").replace("\n", " ")
    assert "(n = 4)" in note
    assert "0.32 ± 0.01 (correlation, held-out images)" in note
    assert "Unknown and left out: 1 (reliability, held-out images)." in note
    assert note.endswith("Excluded: 1 silent.")


def test_excluded_neurons_are_marked_at_their_place(two_regions: StudyResult) -> None:
    for axes in (*encoding_figure(two_regions).axes[::2], response_figure(two_regions).axes[0]):
        (position,) = marks(axes, "excluded").get_xdata()
        assert position > marks(axes, axes.get_lines()[0].get_label()).get_xdata().max()


def test_one_neuron_has_a_mean_without_an_error(tmp_path: Path) -> None:
    figure = encoding_figure(study(tmp_path, [neuron(0, region="")]))
    assert [label.get_text() for label in figure.axes[3].get_xticklabels()] == ["all (1)"]
    assert "0.30 (correlation, held-out images)" in figure.get_supxlabel().replace("\n", " ")


def test_many_neurons_are_counted_and_not_named(tmp_path: Path) -> None:
    axes = encoding_figure(study(tmp_path, [neuron(index) for index in range(41)])).axes[2]
    assert axes.get_xticklabels() == []
    assert axes.get_xlabel().startswith("41 neurons")


def test_responses_are_drawn_beside_both_means(two_regions: StudyResult) -> None:
    figure = response_figure(two_regions)
    axes, against_ooc, against_preferred = figure.axes
    np.testing.assert_allclose(
        marks(axes, "shown objects").get_ydata(), [20, 21, 21, 22, 22, 23, 24, 25]
    )  # the strong ones alone
    np.testing.assert_allclose(marks(axes, "mean, other categories").get_ydata(), [10, 11, 12, 14])
    np.testing.assert_allclose(marks(axes, "mean, preferred category (body)").get_ydata(), [30, 31, 32, 34])
    np.testing.assert_allclose(
        against_ooc.get_lines()[0].get_xydata().T, [[10, 10, 11, 11, 12, 12, 14, 14], [20, 21, 21, 22, 22, 23, 24, 25]]
    )
    np.testing.assert_allclose(against_preferred.get_lines()[0].get_xdata(), [30, 30, 31, 31, 32, 32, 34, 34])
    assert against_ooc.get_title(loc="left") == "8 of 8 objects above the mean"
    assert against_preferred.get_title(loc="left") == "0 of 8 objects above the mean"


def test_an_unknown_mean_is_left_out_of_the_count(tmp_path: Path) -> None:
    result = study(tmp_path, [neuron(0, ooc_mean=math.nan), neuron(1)])
    assert response_figure(result).axes[1].get_title(loc="left") == "2 of 2 objects above the mean"


def test_all_maps_of_a_region_are_on_one_scale_over_all_pages(tmp_path: Path) -> None:
    result = study(tmp_path, [neuron(index, ("weak", "strong")) for index in range(5)])
    pages = list(pair_panels_figure(result, "IT", method="paper", per_figure=2))
    drawn = [overlay for page in pages for overlay in overlays(page)]
    assert [heat.max() for heat, _ in drawn] == [
        5,
        5,
        4,
        4,
        3,
        3,
        2,
        2,
        1,
        1,
    ]  # best encoded first, image and reference
    assert len({id(norm) for _, norm in drawn}) == 1
    assert (drawn[0][1].vmin, drawn[0][1].vmax) == (0, 3)  # the median of 1, ..., 5
    for page, title in zip(pages, ("IT, 1 of 3", "IT, 2 of 3", "IT, 3 of 3"), strict=True):
        assert title in texts(page)
        assert page.axes[-1].get_xlim() == (0, 3)
        assert page.axes[-1].get_title(loc="left") == "map, similarity per unit of the network's input"


def test_shares_are_drawn_as_densities_on_the_absolute_scale(tmp_path: Path) -> None:
    result = study(tmp_path, [neuron(index) for index in range(3)])
    (page,) = pair_panels_figure(result, "IT")
    shown = overlays(page)
    # maps that end at (k + 1) / 64, of 64 pixels: 1 % of the image at the end has (k + 1) / 100
    np.testing.assert_allclose([heat.max() for heat, _ in shown], [0.03, 0.03, 0.02, 0.02, 0.01, 0.01])
    assert {(norm.vmin, norm.vmax) for _, norm in [*shown, *overlays(faint_figure(result))]} == {(0, ABSOLUTE_TOP)}
    assert page.axes[-1].get_title(loc="left") == "map, the share of 1 that falls on 1 % of the image"
    large = study(tmp_path, [neuron(0)], size=2 * SIZE)
    np.testing.assert_allclose(overlays(faint_figure(large))[0][0].max(), 0.01, rtol=1e-6)


def test_what_was_measured_stands_beneath_a_pair(tmp_path: Path) -> None:
    sides = np.array([2, 1], np.float32)[:, None, None, None]
    result = study(tmp_path, [neuron(3, ("weak", "strong"))], maps=lambda _: sides)
    (page,) = pair_panels_figure(result, "IT")
    assert "response 24, similarity 0.50\nshared 0.33 of 1" in texts(page)
    (page,) = pair_panels_figure(result, "IT", method="paper")
    written = {"n3, r = 0.33", "response 24, similarity 0.50\nintensity 0.031", "response 30"}
    assert written <= set(texts(page))
    bare, _, reference, _ = (axes.images[0].get_array() for axes in page.axes[:4])
    assert [heat.max() for heat, _ in overlays(page)] == [2, 1]
    np.testing.assert_allclose(bare, result.picture("object1") / 255, atol=1e-6)
    np.testing.assert_allclose(reference, result.picture("body1") / 255, atol=1e-6)


def test_neurons_without_a_strong_pair_or_of_other_regions_are_not_in_the_panels(tmp_path: Path) -> None:
    result = study(
        tmp_path, [neuron(0), neuron(1, ("weak",)), neuron(2, region="V4"), neuron(3, (), excluded="silent")]
    )
    (page,) = pair_panels_figure(result, "IT")
    assert [text for text in texts(page) if ", r = " in text] == ["n0, r = 0.30"]


def test_maps_of_zeros_are_bare_and_do_not_count_for_the_scale(tmp_path: Path) -> None:
    result = study(tmp_path, [neuron(index) for index in range(3)], maps=lambda row: np.float32(2.0 * (row == 1)))
    (page,) = pair_panels_figure(result, "IT", method="paper")
    assert "nothing shared" not in texts(page)
    assert {norm.vmax for _, norm in overlays(page)} == {2}
    opacity = [float(np.max(axes.images[1].get_alpha())) for axes in page.axes if len(axes.images) == 2]
    assert opacity == [0, 0, 0.85, 0.85, 0, 0]
    nothing = study(tmp_path, [neuron(0)], maps=lambda _: np.float32(0))
    (page,) = pair_panels_figure(nothing, "IT", method="paper")
    assert {norm.vmax for _, norm in overlays(page)} == {1}
    (page,) = pair_panels_figure(nothing, "IT")
    assert texts(page).count("nothing shared") == 2
    opacity = [float(np.max(axes.images[1].get_alpha())) for axes in page.axes if len(axes.images) == 2]
    assert opacity == [0, 0]


@pytest.mark.usefixtures("as_installed")
def test_a_region_that_is_not_there_is_told(two_regions: StudyResult) -> None:
    with pytest.raises(ValueError, match="Expected a region of the study, got 'IT': it has 'B', 'A'"):
        pair_panels_figure(two_regions, "IT")
    with pytest.raises(ValueError, match="per_figure=0: raise it"):
        pair_panels_figure(two_regions, "A", per_figure=0)
    with pytest.raises(ValueError, match="n_neurons=0: raise it"):
        faint_figure(two_regions, n_neurons=0)


@pytest.mark.usefixtures("as_installed")
def test_only_methods_of_the_study_can_be_shown(two_regions: StudyResult, tmp_path: Path) -> None:
    draws = [
        lambda result: faint_figure(result, method="neuron-saliency"),
        lambda result: pair_panels_figure(result, "A", method="neuron-saliency"),
        lambda result: write_figures([result], ["one"], tmp_path / "figures", method="neuron-saliency"),
    ]
    for draw in draws:
        with pytest.raises(ValueError, match=r"got .neuron-saliency.: it has recommended, paper, ours-ig"):
            draw(two_regions)
    alone = dataclasses.replace(two_regions, settings={**two_regions.settings, "methods": ["ours-ig", "paper"]})
    assert method_shown(alone, None).name == "ours-ig"
    with pytest.raises(ValueError, match="got 'ours-ig'"):
        integrated_gradients_figure(dataclasses.replace(two_regions, settings={"methods": ["paper"]}))


def test_faint_maps_are_compared_on_one_scale_and_summarised_over_all_neurons(tmp_path: Path) -> None:
    result = study(tmp_path, [neuron(0), neuron(1, ("strong", "weak")), neuron(2), neuron(3, ("strong",))])
    figure = faint_figure(result, method="paper", n_neurons=3)
    shown = overlays(figure)
    assert [heat.max() for heat, _ in shown] == [3] * 6 + [1] * 6 + [2] * 4  # all kinds, then best encoded
    assert {norm.vmax for _, norm in shown} == {2}
    assert len({id(norm) for _, norm in shown}) == 1
    assert "dissimilar: none" in texts(figure)
    assert "weak, s = 0.30\nresponse 25, reference 30\nintensity 0.023" in texts(figure)
    summaries = {axes.get_ylabel(): axes for axes in figure.axes}
    strong, dissimilar, weak = points(summaries["similarity"])
    np.testing.assert_allclose(strong, [0.5, 0.5, 0.6, 0.6, 0.6, 0.6])
    np.testing.assert_allclose(dissimilar, [0.4, 0.4])
    np.testing.assert_allclose(weak, [0.3, 0.3, 0.5])
    np.testing.assert_allclose(points(summaries["intensity"])[0], [0, 0.001, 0.01, 0.02, 0.021, 0.03])
    labels = [label.get_text() for label in summaries["intensity"].get_xticklabels()]
    assert labels == ["strong\nn = 6", "dissimilar\nn = 2", "weak\nn = 3"]
    figure = faint_figure(result)
    assert "weak, s = 0.30\nresponse 25, reference 30\nshared 0.12 of 1" in texts(figure)
    (summary,) = (axes for axes in figure.axes if axes.get_ylabel() == "shared, of 1")
    np.testing.assert_allclose(points(summary)[2], [0.1, 0.12, 0.31])


def test_each_jacobian_has_a_scale_of_its_own(tmp_path: Path) -> None:
    values = (0.5, 0.7, None, 0.9)
    first = neuron(0)
    pairs = tuple(
        dataclasses.replace(pair, gradient_ig_correlation=value)
        for pair, value in zip(first.pairs, values, strict=True)
    )
    result = study(tmp_path, [dataclasses.replace(first, pairs=pairs), neuron(1), neuron(2, ("strong",))])
    figure = integrated_gradients_figure(result)
    shown = overlays(figure)
    assert [heat.max() for heat, _ in shown] == [3, 30] * 2 + [2, 20] * 2 + [1, 10] * 2
    assert [norm.vmax for _, norm in shown] == [2, 20] * 6
    assert "n0: rank correlation 0.50" in texts(figure)
    (axes,) = [axes for axes in figure.axes if axes.get_ylabel()]
    assert points(axes) == [[0.5, 0.7, 0.9, 0.9, 0.9], [0.9], [0.9, 0.9]]
    medians = [line.get_ydata()[0] for line in axes.get_lines() if line.get_linewidth() == 1.4]
    assert medians == [0.9, 0.9, 0.9]
    assert axes.get_xticklabels()[1].get_text() == "dissimilar\nn = 1"


def every_figure(result: StudyResult) -> dict[str, Figure]:
    regions = dict.fromkeys(entry.region for entry in result.neurons)
    panels = [page for region in regions for page in pair_panels_figure(result, region)]
    return {
        "encoding": encoding_figure(result),
        "responses": response_figure(result),
        "faint": faint_figure(result),
        "integrated gradients": integrated_gradients_figure(result),
        "architectures": architectures_figure([result, result], ["one", "a network with a rather long name"]),
        **{f"panels {number}": page for number, page in enumerate(panels)},
    }


def test_all_figures_open_the_file_of_maps_once_and_close_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = study(tmp_path, [neuron(index) for index in range(3)])
    opened = []
    load = np.load
    monkeypatch.setattr(np, "load", lambda *arguments: opened.append(load(*arguments)) or opened[-1])
    written = write_figures([result], ["one"], tmp_path / "figures")
    assert len(written) == 5
    assert len(opened) == 1
    assert not opened[0].fid.closed
    file = opened.pop().fid
    cycle: list[object] = [result]
    cycle.append(cycle)
    del result, cycle
    gc.collect()
    assert file.closed


def test_a_study_of_excluded_neurons_gives_sentences(tmp_path: Path) -> None:
    result = study(tmp_path, [neuron(index, (), excluded="silent") for index in range(2)])
    for name, figure in every_figure(result).items():
        (sentence,) = texts(figure)
        assert "takes part" in sentence, name
    assert texts(encoding_figure(result)) == ["No neuron takes part. Excluded: 2 silent."]


def test_a_study_without_pairs_says_so(tmp_path: Path) -> None:
    result = study(tmp_path, [neuron(0, ())])
    for draw in (faint_figure, integrated_gradients_figure):
        assert texts(draw(result)) == ["There are no pairs of the 1 neurons that take part."]


@pytest.mark.parametrize("n_neurons", [1, 12, 300])
def test_figures_are_legible_and_within_the_page(tmp_path: Path, n_neurons: int) -> None:
    long = {"name": "subject_Red_array_4_channel_{}_unit_2_sorted", "region": "a region with a name of some length {}"}
    neurons = [
        neuron(index, name=long["name"].format(index), region=long["region"].format(index * 7 // n_neurons))
        for index in range(n_neurons)
    ]
    result = study(tmp_path, neurons[:1] + [dataclasses.replace(entry, reliability=math.nan) for entry in neurons[1:]])
    drawn = every_figure(result) if n_neurons <= 12 else {"a": encoding_figure(result), "b": response_figure(result)}
    for name, figure in drawn.items():
        assert figure.get_size_inches()[0] == 7
        assert figure.get_size_inches()[1] <= 9.3
        assert min(text.get_fontsize() for text in figure.findobj(Text) if text.get_text()) >= 7, name
        figure.draw_without_rendering()  # so that the layout is made
        drawn_on = figure.get_tightbbox()  # inches
        assert min(drawn_on.x0, drawn_on.y0) >= -0.01, name
        assert drawn_on.x1 <= 7.01, name
        assert drawn_on.y1 <= figure.get_size_inches()[1] + 0.01, name


def test_figures_are_saved_for_print_with_fonts_that_remain_text(two_regions: StudyResult, tmp_path: Path) -> None:
    save_figure(encoding_figure(two_regions), tmp_path / "figure.pdf")
    content = (tmp_path / "figure.pdf").read_bytes()
    assert b"/CIDFontType2" in content
    assert b"/Subtype /Type3" not in content


def test_marks_differ_without_colour(two_regions: StudyResult) -> None:
    for figure in (encoding_figure(two_regions), response_figure(two_regions)):
        (legend,) = figure.legends
        shapes = [handle.get_marker() for handle in legend.legend_handles if isinstance(handle, Line2D)]
        assert len(shapes) == 4
        assert len(set(shapes)) == 4
