import dataclasses

import numpy as np
import pytest
from toy_study import texts

from captum_shared.figures import concordance_figure
from captum_shared.study import Concordance, likeness

NAMES = ["Gus"] * 8 + ["Ida"] * 9 + ["Kim"] * 7


@pytest.fixture
def compared() -> Concordance:
    rng = np.random.default_rng(0)
    tuning = rng.standard_normal((24, 30)) + 2 * rng.standard_normal((2, 30)).repeat((17, 7), axis=0)
    alike = {"references": likeness(np.corrcoef(tuning)), "maps": likeness(np.corrcoef(tuning[:, :20]))}
    return Concordance.of(alike, NAMES, by="subject", left_out={"Lou": 2})


def test_every_number_is_drawn(compared: Concordance) -> None:
    figure = concordance_figure(compared)
    assert [axes.get_title() for axes in figure.axes] == ["concordance", "references: likeness", "maps: likeness"]
    first, references, _ = figure.axes
    drawn = np.asarray(first.images[0].get_array())
    np.testing.assert_allclose(drawn, np.array(compared.concordance))
    np.testing.assert_allclose(np.asarray(references.images[0].get_array()), np.array(compared.likeness["references"]))
    cells = [text.get_text() for text in first.texts]
    reach = compared.high[0][2] - compared.concordance[0][2]
    assert cells[0] == "1"
    assert cells[2] == f"{compared.concordance[0][2]:.2f}*\n± {reach:.2f}"
    assert "*" not in cells[1]
    assert [label.get_text() for label in first.get_yticklabels()] == ["Gus (8)", "Ida (9)", "Kim (7)"]


def test_the_note_says_what_it_comes_to(compared: Concordance) -> None:
    words = " ".join(" ".join(texts(concordance_figure(compared))).split())
    assert compared.told in words
    assert "Gus and Ida agree more with each other than with Kim" in words
    assert "Too few neurons to be compared: Lou." in words
    assert "All were made equally noisy before." in words
    unmatched = dataclasses.replace(compared, matched=False)
    words = " ".join(" ".join(texts(concordance_figure(unmatched))).split())
    assert "noise may pass for a difference" in words
    assert "equally noisy before" not in words


def test_many_groups_are_drawn_without_numbers() -> None:
    rng = np.random.default_rng(0)
    many = Concordance.of(
        {"maps": likeness(np.corrcoef(rng.standard_normal((36, 9))))}, list("ABCDEFGHIJKL") * 3, by="region"
    )
    figure = concordance_figure(many)
    assert not figure.axes[0].texts
    assert len(figure.axes[0].get_yticklabels()) == 12


def test_names_with_dollars_are_drawn_as_they_are() -> None:
    alike = {"maps": likeness(np.corrcoef(np.random.default_rng(0).standard_normal((8, 9))))}
    figure = concordance_figure(Concordance.of(alike, ["$a$", "b"] * 4, by="subject"))
    assert "$a$ (4)" in texts(figure)
