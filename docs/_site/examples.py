"""The example files of docs/formats.md: one tiny simulated recording in every format that is read.

python docs/_site/examples.py
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import xarray

from captum_shared import Recording
from captum_shared.synthetic import simulate_recording

EXAMPLES = Path(__file__).parents[1] / "examples"
FORMATS = ("nc", "npz", "csv", "parquet", "h5", "nwb")


def main() -> None:
    """Write the files anew."""
    shutil.rmtree(EXAMPLES, ignore_errors=True)
    EXAMPLES.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        for kind in FORMATS:
            world = Path(folder) / kind
            file = simulate_recording(world, format=kind, n_neurons=2, n_creatures=6, n_artefacts=6)
            shutil.copy(file, EXAMPLES / file.name)
        shutil.copytree(world / "images", EXAMPLES / "images")
        shutil.copy(world / "stimuli.csv", EXAMPLES / "stimuli.csv")
        write_others(Path(folder))


def write_others(folder: Path) -> None:
    """The formats that simulate does not write, and the tables."""
    recording = Recording.load(EXAMPLES / "recording.npz", stimuli=EXAMPLES / "stimuli.csv", images=EXAMPLES)
    np.save(EXAMPLES / "recording.npy", np.asarray(recording.responses))
    with xarray.open_dataset(EXAMPLES / "recording.nc", engine="h5netcdf") as data:
        data.load().to_zarr(folder / "recording.zarr", zarr_format=2)
    with zipfile.ZipFile(EXAMPLES / "recording.zarr.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted((folder / "recording.zarr").rglob("*")):
            packed.write(path, path.relative_to(folder))
    table = (EXAMPLES / "stimuli.csv").read_bytes()
    init = [sys.executable, "-m", "captum_shared", "init", str(EXAMPLES), "--images", str(EXAMPLES), "--force"]
    subprocess.run(init, check=True)
    (EXAMPLES / "stimuli.csv").write_bytes(table)  # with categories, which init cannot know
    settings = EXAMPLES / "study.toml"
    text = settings.read_text(encoding="utf-8").replace('preferred = "images"', 'preferred = "creature"')
    settings.write_text(text.replace("# folds = 10", "folds = 2"), encoding="utf-8")
    measure = pd.DataFrame({"stimulus_id": recording.stimulus_ids, "value": range(len(recording.stimulus_ids))})
    measure.to_csv(EXAMPLES / "behaviour.csv", index=False)


if __name__ == "__main__":
    main()
