"""The page of a study without a browser: what it says, what it must not hold, and what a folder is taken for."""

import base64
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from bs4 import BeautifulSoup
from pairs import HOSTILE, evidence, study, with_evidence

from captum_shared.report import write_page, write_report, write_study_report
from captum_shared.report.arrays import packed
from captum_shared.report.page import Part, embedded


def page_of(result, folder: Path) -> BeautifulSoup:
    write_study_report(result, folder / "report.html")
    text = (folder / "report.html").read_text(encoding="utf-8")
    return BeautifulSoup(text.replace("template>", "section>"), "html.parser")  # whose texts count


def unpacked(told: dict) -> dict[str, np.ndarray]:
    """Undo what a page packs, the slow way."""
    content, arrays = zlib.decompress(base64.b64decode(told["bytes"])), {}
    for name, entry in told["arrays"].items():
        size = int(np.prod(entry["shape"]))
        levels = np.frombuffer(content[entry["start"] :][:size], np.uint8).reshape(entry["shape"]).astype(int)
        arrays[name] = entry["top"] * (levels.cumsum(-1).cumsum(-2) % 256 / 255) ** 2
    return arrays


def test_a_page_says_what_a_study_measured(tmp_path: Path) -> None:
    soup = page_of(with_evidence(study(tmp_path)), tmp_path)
    first = soup.find(id="neuron-n1-pair-1")
    facts = {row.dt.text: row.dd.text for row in first.select(".facts > div")}
    assert facts == {
        "response to the image": "21",
        "response to the reference": "30",
        "similarity": "0.60",
        "agreement": "shared 0.41 of 1",
        "maps of gradients and of Integrated Gradients": "rank correlation 0.90",
        "chance, image": "p = 0.013",
        "chance, reference": "p = 0.270",
    }
    alternative = "Reference 1, body0: similarity 0.60, response 30, the one explained"
    assert first.select_one(".ranked img")["alt"] == alternative
    assert first.select_one(".ranked .chosen img")["alt"].startswith("Reference 1,")
    shares = evidence(10).shares
    assert [item.text for item in first.select(".legend li")] == [
        f"component {part}: {100 * share:.0f} %" for part, share in enumerate(shares, start=1)
    ]
    told = soup.find(id="neuron-n1").find(class_="scores").svg["aria-label"]
    assert told.startswith(
        "body, held out: r = 0.31, chance \N{MINUS SIGN}0.20 to 0.21, reliability 0.81, ceiling 0.90."
    )


def test_a_page_carries_maps_and_correspondence_with_their_scale(tmp_path: Path) -> None:
    result = with_evidence(study(tmp_path))
    soup = page_of(result, tmp_path)
    data = json.loads(soup.find(id="neuron-n1-pair-2-data").string)
    arrays, known = unpacked(data["packed"]), evidence(11).correspondence
    np.testing.assert_allclose(arrays["correspondence"], known, atol=0.008 * known.max())
    paper = result.maps("n1", "paper")[1]
    np.testing.assert_allclose(arrays["maps/1/0"], paper[0], atol=0.008 * paper.max())
    densities = result.maps("n1", "recommended")[1, 1].astype(float) * 28 * 28 / 100
    np.testing.assert_allclose(arrays["maps/0/1"], densities, atol=0.008 * densities.max())
    recommended, gradient, _ = data["methods"]
    assert (recommended["top"], recommended["power"]) == (0.02, 0.5)
    assert [label for _, label in recommended["ticks"]] == ["0", "0.00125", "0.005", "0.0112", "0.02"]
    assert (gradient["top"], gradient["power"]) == (pytest.approx(paper.max()), 1.0)


def test_what_an_older_study_lacks_is_said(tmp_path: Path) -> None:
    result = study(tmp_path)
    vars(result)["responses"] = None
    text = page_of(result, tmp_path).find(id="neuron-n0").text
    assert "What matches what is not kept in this study" in text
    assert "The responses to all images are not kept in this study" in text


def test_hostile_names_stay_texts(tmp_path: Path) -> None:
    result = with_evidence(study(tmp_path, HOSTILE))
    write_study_report(result, tmp_path / "hostile.html")
    text = (tmp_path / "hostile.html").read_text(encoding="utf-8")
    soup = BeautifulSoup(text, "html.parser")
    assert "<img src=x" not in text
    assert "<svg/onload" not in text
    identifiers = [section["id"] for section in soup.select("details.neuron")]
    assert len(set(identifiers)) == len(HOSTILE)
    assert all(re.fullmatch(r"neuron-[\w-]{1,95}", identifier) for identifier in identifiers)
    handlers = [name for tag in soup.find_all(True) for name in tag.attrs if name.startswith("on")]
    assert handlers == []
    assert not [tag for tag in soup.find_all(True) if "style" in tag.attrs]


@pytest.mark.parametrize("index", range(len(HOSTILE)))
def test_data_ends_no_element_and_is_read_back(index: int) -> None:
    written = str(embedded({HOSTILE[index]: [HOSTILE[index]]}))
    assert re.search(r"[<>&]", written) is None
    assert written.isascii()
    assert json.loads(written) == {HOSTILE[index]: [HOSTILE[index]]}


def test_the_policy_forbids_all_but_what_the_page_brings(tmp_path: Path) -> None:
    write_page(tmp_path / "page.html", "title", [Part("sentence.html.jinja", {"sentence": "Nothing."})])
    soup = BeautifulSoup((tmp_path / "page.html").read_text(encoding="utf-8"), "html.parser")
    policy = dict(entry.split(" ", 1) for entry in soup.find("meta", attrs={"http-equiv": True})["content"].split("; "))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["img-src"] == "data:"
    assert policy["script-src"].startswith("'sha256-")
    assert not [tag for tag in soup.find_all(["script", "img", "iframe"]) if tag.get("src")]


def test_an_array_of_zeros_comes_back(tmp_path: Path) -> None:
    assert not unpacked(packed({"zeros": np.zeros((2, 3, 3))}))["zeros"].any()


def test_what_is_no_study_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected the folder of a study"):
        write_report(tmp_path)
    with pytest.raises(FileNotFoundError, match="there is nothing at"):
        write_report(tmp_path / "nowhere")
    np.savez(tmp_path / "pair.npz", image="mug.png", reference="hand.png")
    with pytest.raises(ValueError, match="Explain the pair again"):
        write_report(tmp_path / "pair.npz")


def test_only_a_page_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "own.html").write_text("mine", encoding="utf-8")
    study(tmp_path).save(tmp_path / "study.json")
    with pytest.raises(FileExistsError, match="is no report"):
        write_report(tmp_path, tmp_path / "own.html")
    assert (tmp_path / "own.html").read_text(encoding="utf-8") == "mine"
