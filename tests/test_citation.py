import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_version_to_cite_is_that_of_the_package() -> None:
    cited, built = (
        re.findall(rule, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
        for name, rule in (("CITATION.cff", r"^version: (.*)$"), ("pyproject.toml", r'^version = "(.*)"$'))
    )
    assert cited == built
    assert len(built) == 1
