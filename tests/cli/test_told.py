"""What goes wrong in a command is a sentence, whatever it is."""

import re
import zlib
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from captum_shared.cli import app
from captum_shared.cli.app import told

UNEXPECTED = r"^captum-shared: Something unexpected happened \({}, in app\.py, line \d+\): please report it, with"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ValueError("Expected this, got that: mend it."), r"^captum-shared: Expected this, got that: mend it\.$"),
        (FileNotFoundError("Expected a file, got none."), r"^captum-shared: Expected a file, got none\.$"),
        (ImportError("Reading needs h5py."), r"^captum-shared: Reading needs h5py\.$"),
        (MemoryError("Unable to allocate 3 GiB"), r"^captum-shared: There is not enough memory .*3 GiB\): give fewer"),
        (KeyError("units"), UNEXPECTED.format("KeyError: 'units'")),
        (AttributeError("no such thing"), UNEXPECTED.format("AttributeError: no such thing")),
        (zlib.error("invalid distance"), UNEXPECTED.format("error: invalid distance")),
        (EOFError(), UNEXPECTED.format("EOFError")),
        (RecursionError("too deep"), UNEXPECTED.format("RecursionError: too deep")),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad byte"), UNEXPECTED.format("'utf-8' codec .* bad byte")),
        (StopIteration(), UNEXPECTED.format("StopIteration")),
    ],
)
def test_every_error_is_a_sentence(error: Exception, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    @told
    def command() -> None:
        raise error

    with pytest.raises(typer.Exit) as ended:
        command()
    said = capsys.readouterr().err
    assert ended.value.exit_code == 2
    assert len(said.splitlines()) == 1
    assert re.search(sentence, said.strip())


@pytest.mark.parametrize(
    ("most", "told"),
    [(39_999, r"at most 39,999 pixels, got more \(200 x 200\).* --max-pixels"), (40_000, None)],
)
def test_the_number_of_pixels_of_an_image_is_an_option(
    most: int, told: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)  # put back afterwards
    photograph = tmp_path / "p.png"
    Image.new("RGB", (200, 200)).save(photograph)
    outputs = ["--output", str(tmp_path / "pair.png"), "--method", "random"]
    pair = ["explain", str(photograph), str(photograph), "--model", "embedded", *outputs]
    done = CliRunner().invoke(app, [*pair, "--max-pixels", str(most)])
    assert done.exit_code == (2 if told else 0), done.output
    assert re.search(told or "^Wrote .*pair", done.output.replace("\n", " ") if told else done.output, re.MULTILINE)


def test_the_end_that_a_command_chooses_stays_its_own() -> None:
    @told
    def command() -> None:
        raise typer.Exit(7)

    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == 7
