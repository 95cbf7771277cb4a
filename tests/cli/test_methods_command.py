"""``captum-shared methods``."""

from typer.testing import CliRunner

from captum_shared.cli import app
from captum_shared.methods import METHODS


def test_every_method_is_listed_with_what_it_costs() -> None:
    result = CliRunner().invoke(app, ["methods"])
    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line for line in result.output.splitlines() if line.startswith("  ")}
    assert list(lines) == sorted(METHODS, key=lambda name: list(lines).index(name))
    assert lines["paper"].endswith("1 forward, 1 backward, shown by default")
    assert "BiLRP " in lines["bilrp"]
    assert lines["bilrp"].endswith("4 forward, 2 backward, by zennit")
    assert "\nneuron: the neuron's response to one image at a time\n  neuron-saliency" in result.output
