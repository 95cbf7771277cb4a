import importlib
import json
import re
from pathlib import Path

import pytest
import torch
import torchvision
from torchvision.utils import save_image

from captum_shared.synthetic.stimuli import draw_stimuli

README = Path(__file__).parents[1] / "README.md"


def test_its_python_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder, category in (("bodies", "creature"), ("objects", "artefact")):
        (tmp_path / folder).mkdir()
        for i, stimulus in enumerate(draw_stimuli(category, 4, seed=0)):
            save_image(stimulus.image, tmp_path / folder / f"{i}.png")
    torch.save(torch.rand(4, 4, generator=torch.Generator().manual_seed(0)), tmp_path / "responses.pt")
    get_model = torchvision.models.get_model
    monkeypatch.setattr(torchvision.models, "get_model", lambda name, weights: get_model(name, weights=None))
    monkeypatch.chdir(tmp_path)

    code = "\n".join(re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL))
    names: dict[str, object] = {}
    exec(code, names)

    assert (tmp_path / "pair.png").stat().st_size > 10_000
    objects, maps = names["objects"], names["recommended"]
    assert isinstance(objects, torch.Tensor)
    assert isinstance(maps, tuple)
    assert maps[0].shape == (len(objects), 1, *objects.shape[2:])
    assert float(names["error"].max()) < 1e-3  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["parts", "grid", "grid_features"])
def test_its_tables_are_those_of_the_results(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    benchmarks = README.parent / "benchmarks"
    monkeypatch.syspath_prepend(benchmarks)
    readme_table = importlib.import_module("recovery").readme_table
    result = json.loads((benchmarks / "results" / f"{name}.json").read_text(encoding="utf-8"))
    text = README.read_text(encoding="utf-8")
    (table,) = re.findall(f"<!-- {name} -->\n(.*?)\n<!-- /{name} -->", text, re.DOTALL)
    assert table == readme_table(result)
    assert len(result["methods"]) >= 5
    row = next(line for line in table.splitlines() if line.startswith("| recommended |"))
    entry = next(entry for entry in result["methods"] if entry["name"] == "recommended")
    assert f"| {entry['scores']['mass']['value']:.2f} |" in row


def test_it_names_files_that_exist() -> None:
    for path in re.findall(r"\]\(((?!http)[^)]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / path).is_file(), path
