"""A small study with evidence made by hand, for pages."""

import dataclasses
from pathlib import Path

import numpy as np
import toy_study

from captum_shared.study.evidence import PairEvidence, RankedReference, Responses, packed_evidence
from captum_shared.study.result import StudyResult

GRID = 7
SIZE = 28
HOSTILE = (
    "</script><img src=x onerror=\"document.title='owned'\">",
    "\"'><svg/onload=alert(1)>",
    "line\nbreak\ttab",
    "\u202egnp.exe\u2066",
    "${alert(1)} {{ 7 * 7 }} {% raw %} <!-- ]]>",
    "long" * 2500,
    "caf\udce9",
)


def correspondence(seed: int) -> np.ndarray:
    """Sparse, of very different strengths, not symmetric; one position of the image matches nothing."""
    rng = np.random.default_rng(seed)
    shape = (GRID,) * 4
    values = rng.exponential(size=shape) ** 3 * (rng.random(shape) < 0.3)
    values[0, 0] = 0
    return (0.31 * values / values.sum()).astype(np.float32)


def evidence(seed: int) -> PairEvidence:
    whole = correspondence(seed)
    parts = np.zeros((2, *whole.shape), np.float32)
    parts[0, : GRID // 2], parts[1, GRID // 2 :] = whole[: GRID // 2], whole[GRID // 2 :]
    maps = np.stack([np.stack([part.sum((2, 3)), part.sum((0, 1))]) for part in parts])
    significant = np.zeros((2, SIZE, SIZE), bool)
    significant[:, 8:20, 8:20] = True
    return PairEvidence(whole, maps, significant, (0.013, 0.27))


def study(folder: Path, names: tuple[str, ...] = ("n0", "n1")) -> StudyResult:
    """Neurons of these names, as a study of this version has them."""
    neurons = [
        dataclasses.replace(
            toy_study.neuron(index, kinds=("strong", "weak")), name=name, ceiling=0.9, null_interval=(-0.2, 0.21)
        )
        for index, name in enumerate(names)
    ]
    ranked = tuple(RankedReference(f"body{rank}", 0.6 - 0.1 * rank, 30.0 - rank) for rank in range(4))
    neurons = [
        dataclasses.replace(each, pairs=tuple(dataclasses.replace(pair, references=ranked) for pair in each.pairs))
        for each in neurons
    ]
    made = toy_study.study(folder, neurons, size=SIZE)
    images = tuple(f"{kind}{row}" for kind in ("object", "body") for row in range(6))
    responses = np.arange(12 * len(names), dtype=np.float32).reshape(12, len(names))
    vars(made)["responses"] = Responses(images, ("object",) * 6 + ("body",) * 6, responses)
    return made


def with_evidence(result: StudyResult) -> StudyResult:
    """The same study with evidence of its pairs in its file; that of neuron k is of the seeds 10 k, 10 k + 1."""
    arrays = dict(np.load(result.map_file))
    explained = [neuron for neuron in result.neurons if neuron.pairs]
    for index, neuron in enumerate(explained):
        made = packed_evidence([evidence(10 * index + pair) for pair in range(len(neuron.pairs))])
        arrays |= {f"{kind}/{index:05d}": array for kind, array in made.items()}
    np.savez(result.map_file, **arrays, evidence_names=[neuron.name for neuron in explained])
    return result
