"""The page of one pair of photographs, from the file of ``captum-shared explain``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy import ndarray

from captum_shared._reading import opened
from captum_shared.figures.overlay import told_share
from captum_shared.methods.registry import METHODS
from captum_shared.report.page import Part, number, write_page
from captum_shared.report.pair import SCRIPTS, SIDES, STYLES, PairMaps, PairView, chance_told, looks
from captum_shared.report.pictures import LARGE, SMALL, Pictures
from captum_shared.study.evidence import PairEvidence, evidence_in

_AGAIN: Final = "Explain the pair again: files of older versions lack what a report shows."
_UNKNOWN: Final = {
    "evidence": "What matches what is not known: explain had no --report, or averages no positions.",
    "references": "There was one reference, and no choice.",
}


def write_pair_report(maps_file: str | Path, path: str | Path) -> None:
    """Write a pair as one HTML file, which opens without a server and without a network.

    Args:
        maps_file: the ``.npz`` file that ``captum-shared explain`` wrote.
        path: the file; it is written whole or not at all.

    Raises:
        ValueError: if the file is damaged, something else, or of a version that kept no pictures.
    """
    with opened(maps_file, "file of captum-shared explain", _AGAIN):
        with np.load(maps_file) as archive:
            kept = dict(archive)
        if "pictures" not in kept:
            raise ValueError("no pictures in it")
        view, pictures = _view(kept)
    context = {"pair": view}
    data = {view.address: view.data, "pictures": pictures.addresses, "looks": looks()}
    write_page(path, str(kept["title"]), [Part("explained.html.jinja", context, data, SCRIPTS, STYLES)])


def _view(kept: Mapping[str, ndarray]) -> tuple[PairView, Pictures]:
    names = Path(str(kept["image"])).name, Path(str(kept["reference"])).name
    shown = dict(zip(SIDES, kept["pictures"], strict=True))
    shown |= {f"ranked {rank}": picture for rank, picture in enumerate(kept["ranked_pictures"])}
    pictures = Pictures(shown.__getitem__)
    evidence = evidence_in(kept)[0] if "evidence" in kept else None
    large = pictures.key(SIDES[0], LARGE), pictures.key(SIDES[1], LARGE)
    references = _ranked(kept, pictures) if len(kept["ranked"]) > 1 else ()
    maps = [_maps(kept, name) for name in kept["methods"].tolist()]
    view = PairView(
        "pair", " beside ".join(names), names, large, maps, evidence, _facts(kept, evidence), references, _UNKNOWN
    )
    return view, pictures


def _maps(kept: Mapping[str, ndarray], name: str) -> PairMaps:
    method, pictures = METHODS[name], kept["pictures"]
    inputs = torch.empty(1, 3, *pictures.shape[1:3])
    attributions = (torch.from_numpy(kept[f"{name}_image"])[None], torch.from_numpy(kept[f"{name}_reference"])[None])
    first, second = (heat[0].numpy() for heat in method.heatmaps(attributions, (inputs, inputs)))
    shared = kept.get(f"{name}_shared")
    told = f"intensity {(first.mean() + second.mean()) / 2:.2g}" if shared is None else told_share(float(shared))
    return PairMaps(method, (first, second), told)


def _ranked(kept: Mapping[str, ndarray], pictures: Pictures) -> Sequence[Mapping[str, Any]]:
    files, chosen = kept["references"].tolist(), str(kept["reference"])
    return [
        {
            "name": Path(files[index]).name,
            "similarity": similarity,
            "response": None,
            "rank": rank + 1,
            "chosen": rank == 0 and files[index] == chosen,
            "picture": pictures.key(f"ranked {rank}", SMALL),
        }
        for rank, (index, similarity) in enumerate(
            zip(kept["ranked"].tolist(), kept["ranked_similarities"].tolist(), strict=True)
        )
    ]


def _facts(kept: Mapping[str, ndarray], evidence: PairEvidence | None) -> dict[str, str]:
    shared = {METHODS[name].title: kept.get(f"{name}_shared") for name in kept["methods"].tolist()}
    facts = {"similarity": number(float(kept["similarity"]))}
    facts |= {title: told_share(float(value)) for title, value in shared.items() if value is not None}
    return facts | ({} if evidence is None else chance_told(evidence))
