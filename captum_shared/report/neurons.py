"""The neurons of a study, each in a section that is drawn when it is opened."""

from collections.abc import Mapping
from typing import Any, Final

from captum_shared.figures.neurons import named
from captum_shared.figures.overlay import told_share
from captum_shared.figures.shown import strength
from captum_shared.methods.registry import METHODS
from captum_shared.report.page import Part, number
from captum_shared.report.pair import SCRIPTS, STYLES, PairMaps, PairView, chance_told, looks
from captum_shared.report.pictures import LARGE, SMALL, Pictures
from captum_shared.report.scores import LOWEST, across, scores
from captum_shared.report.scores import WIDTH as SCORE_WIDTH
from captum_shared.report.strips import WIDTH as STRIP_WIDTH
from captum_shared.report.strips import Strips, strips
from captum_shared.study.evidence import PairEvidence
from captum_shared.study.result import Kind, NeuronResult, PairResult, StudyResult

_KINDS: Final[Mapping[Kind, str]] = {
    "strong": "Strong: among the images that drive it most",
    "dissimilar": "Dissimilar: drives it, but resembles none of its references",
    "weak": "Weak: drives it least",
}
_OLDER: Final = "is not kept in this study: it was made by an older version"
_UNKNOWN: Final = {
    "evidence": f"What matches what {_OLDER}, or its layer has no positions.",
    "references": f"Which references it was chosen among {_OLDER}.",
}


def neuron_sections(result: StudyResult, addresses: Mapping[str, str]) -> Part:
    """Make a section of every neuron.

    Args:
        result: a study.
        addresses: by name of the neuron the identifier of its section.

    Returns:
        The sections, with all maps and pictures.

    Raises:
        ValueError: if maps or pictures are damaged.
    """
    pictures = Pictures(result.picture)
    sections = [
        _section(result, index, addresses[neuron.name], pictures) for index, neuron in enumerate(result.neurons)
    ]
    views = [view for section in sections for view in section["pairs"]]
    data: dict[str, Any] = {view.address: view.data for view in views}
    context = {
        "sections": sections,
        "n_explained": len(result.explained),
        "strip_width": STRIP_WIDTH,
        "score_width": SCORE_WIDTH,
        "score_ticks": [(across(value), number(value, "g")) for value in (LOWEST, 0.0, 0.5, 1.0)],
    }
    return Part(
        "neurons.html.jinja", context, data | {"pictures": pictures.addresses, "looks": looks()}, SCRIPTS, STYLES
    )


def _section(result: StudyResult, index: int, address: str, pictures: Pictures) -> dict[str, Any]:
    neuron = result.neurons[index]
    evidence = result.evidence(neuron.name) if neuron.pairs else None
    views = [
        _pair(result, neuron, each, f"{address}-pair-{each + 1}", pictures, evidence[each] if evidence else None)
        for each in range(len(neuron.pairs))
    ]
    return {
        "address": address,
        "neuron": neuron,
        "heading": named(neuron) if neuron.heldout_correlation == neuron.heldout_correlation else neuron.name,
        "scores": scores(neuron, result),
        "strips": _strips(result, index),
        "pairs": views,
    }


def _strips(result: StudyResult, index: int) -> Strips | None:
    responses = result.responses
    if responses is None:
        return None
    pairs = result.neurons[index].pairs
    marked = {pair.reference: "reference" for pair in pairs} | {pair.image: "image" for pair in pairs}
    preferred = str(result.settings.get("preferred", ""))
    return strips(responses.mean[:, index], responses.images, responses.categories, preferred=preferred, marked=marked)


def _pair(
    result: StudyResult,
    neuron: NeuronResult,
    index: int,
    address: str,
    pictures: Pictures,
    evidence: PairEvidence | None,
) -> PairView:
    pair = neuron.pairs[index]
    maps = []
    for name in result.methods:
        method = METHODS[name]
        value, heats = strength(pair, method), result.maps(neuron.name, name)[index]
        told = told_share(value) if method.absolute else f"intensity {value:.2g}"
        maps.append(PairMaps(method, (heats[0], heats[1]), told))
    return PairView(
        address,
        _KINDS[pair.kind],
        (pair.image, pair.reference),
        (pictures.key(pair.image, LARGE), pictures.key(pair.reference, LARGE)),
        maps,
        evidence,
        _facts(pair, evidence),
        [
            {
                "name": each.name,
                "similarity": each.similarity,
                "response": each.response,
                "rank": rank,
                "chosen": each.name == pair.reference,
                "picture": pictures.key(each.name, SMALL),
            }
            for rank, each in enumerate(pair.references, start=1)
        ],
        _UNKNOWN,
    )


def _facts(pair: PairResult, evidence: PairEvidence | None) -> dict[str, str]:
    facts = {
        "response to the image": number(pair.response, ".3g"),
        "response to the reference": number(pair.reference_response, ".3g"),
        "similarity": number(pair.similarity),
        "agreement": "not measured" if pair.agreement is None else told_share(pair.agreement),
    }
    if pair.gradient_ig_correlation is not None:
        facts["maps of gradients and of Integrated Gradients"] = (
            f"rank correlation {number(pair.gradient_ig_correlation)}"
        )
    if evidence is not None:
        facts |= chance_told(evidence)
    return facts
