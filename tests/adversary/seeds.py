"""One good file of everything that the package reads."""

import hashlib
import json
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray
from mutants import RESIZING
from PIL import Image
from safetensors.torch import save_file
from toy_study import neuron, study
from trial import Seed

from captum_shared.encoders.checkpoints import read_weights
from captum_shared.encoders.embedded import embedded_network
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.store import FeatureStore
from captum_shared.encoders.writing import write_features
from captum_shared.images import load_image, rgb_preprocess
from captum_shared.neurons.readout import LinearReadout
from captum_shared.recordings import Recording
from captum_shared.recordings.formats.spikes import Spikes
from captum_shared.recordings.formats.table import write_spikes
from captum_shared.study.evidence import PairEvidence, packed_evidence
from captum_shared.study.result import FORMAT, StudyResult
from captum_shared.synthetic.recording import simulate_recording
from captum_shared.synthetic.world import simulated_world

SHORTER = frozenset({"truncate"})


def recording() -> Recording:
    responses = np.random.default_rng(0).normal(10, 3, (1, 12, 5)).round(3)
    return Recording(
        responses=responses,
        stimulus_ids=tuple(f"image {index:02d}" for index in range(12)),
        categories=("body",) * 6 + ("object",) * 6,
        neuron_names=tuple(f"cell {index}" for index in range(5)),
        regions=("MSB", "IT", "IT", "IT", "IT"),
        subjects=("M1",) * 5,
        halves=None,
    )


def digest(*parts: object) -> bytes:
    total = hashlib.sha256()
    for part in parts:
        content = part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode()
        total.update(repr(np.shape(part) if isinstance(part, np.ndarray) else ()).encode() + content)
    return total.digest()


def of_recording(loaded: Recording) -> bytes:
    return digest(
        loaded.responses,
        loaded.halves,
        loaded.stimulus_ids,
        loaded.categories,
        loaded.neuron_names,
        loaded.regions,
        loaded.subjects,
    )


def read_recording(path: Path) -> bytes:
    return of_recording(Recording.load(path))


def recorded(name: str, extension: str, tells: frozenset[str] | None = frozenset()) -> Seed:
    file = f"recording{extension}"
    return Seed(name, file, lambda folder: recording().save(folder / file), read_recording, tells)


def write_table(folder: Path, name: str) -> None:
    columns = {"stimulus_id": recording().stimulus_ids, "category": recording().categories}
    pd.DataFrame(columns).to_csv(folder / name, index=False)


def write_npy(folder: Path) -> None:
    np.save(folder / "recording.npy", recording().responses)
    write_table(folder, "recording.csv")


def write_tabled(folder: Path) -> None:
    np.savez(folder / "recording.npz", responses=recording().responses, stimulus_id=recording().stimulus_ids)
    write_table(folder, "stimuli.csv")


def write_assembly(folder: Path) -> None:
    own = recording()
    coordinates = {
        "image_id": ("presentation", list(own.stimulus_ids)),
        "category_name": ("presentation", list(own.categories)),
        "neuroid_id": ("neuroid", list(own.neuron_names)),
        "region": ("neuroid", list(own.regions)),
    }
    array = xarray.DataArray(own.responses[0], coordinates, ("presentation", "neuroid"), name="rates")
    array.to_netcdf(folder / "recording.nc", engine="h5netcdf")


def write_nwb(folder: Path) -> None:
    onsets = np.arange(6.0)
    shown = pd.DataFrame(
        {"start_time": onsets, "stop_time": onsets + 0.5, "stimulus_id": [f"image {index}" for index in range(6)]}
    )
    times = [np.sort(np.random.default_rng(unit).uniform(0, 6, 40)) for unit in range(3)]
    spikes = Spikes(times, shown, ["A", "B", "C"], ["MSB", "IT", "IT"], "M1")
    write_spikes(folder / "recording.nwb", spikes)


def pictured(name: str, extension: str, tells: frozenset[str] | None = frozenset(), mode: str = "RGB") -> Seed:
    def write(folder: Path) -> None:
        pixels = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1)
        Image.fromarray(pixels).convert(mode).save(folder / f"image{extension}")

    return Seed(name, f"image{extension}", write, lambda path: digest(np.asarray(load_image(path))), tells)


def write_readout(folder: Path) -> None:
    drawn = torch.Generator().manual_seed(0)
    readout = LinearReadout(
        torch.randn(3, 8, generator=drawn), feature_mean=torch.ones(8), neuron_names=["a", "b", "c"]
    )
    known = readout.with_examples(torch.randn(4, 8, generator=drawn), torch.eye(8))
    known = known.with_heldout([0.6, 0.1, 0.3], [-0.2] * 3, [0.2] * 3).with_origin({"network": "ResNet", "layer": "a"})
    known.save(folder / "readout.safetensors")


def write_old_readout(folder: Path, version: int) -> None:
    """As versions 1 and 2 wrote it."""
    tensors = {"weight": torch.eye(2), "bias": torch.zeros(2), "feature_mean": torch.ones(2)}
    if version == 2:
        tensors |= {"examples": torch.ones(3, 2), "scatter": 2 * torch.eye(2)}
    metadata = {"format": f"captum_shared.LinearReadout, version {version}", "neuron_names": ["a", "b"]}
    save_file(tensors, folder / "readout.safetensors", {"readout": json.dumps(metadata)})


def written_by(version: int) -> Seed:
    write = partial(write_old_readout, version=version)
    return Seed(f"readout {version}", "readout.safetensors", write, read_readout, RESIZING)


def read_readout(path: Path) -> bytes:
    readout = LinearReadout.load(path)
    buffers = {name: value.numpy() for name, value in readout.named_buffers()}
    return digest(readout.neuron_names, readout.origin, *buffers, *buffers.values())


def of_tensors(tensors: dict[str, torch.Tensor]) -> bytes:
    return digest(*tensors, *(value.dtype for value in tensors.values()), *(v.numpy() for v in tensors.values()))


def write_weights(folder: Path) -> None:
    save_file(torch.nn.Linear(4, 3).state_dict(), folder / "weights.safetensors")


def write_checkpoint(folder: Path) -> None:
    torch.save({"state_dict": torch.nn.Linear(4, 3).state_dict()}, folder / "weights.pt")


def write_embedded(folder: Path) -> None:
    save_file(embedded_network(None).state_dict(), folder / "embedded.safetensors")


def write_store(folder: Path) -> None:
    features = LatentFeatures(torch.nn.Sequential(torch.nn.Conv2d(3, 5, 3)), "0")
    features.preprocess = rgb_preprocess(8)
    for name, colour in (("a", "red"), ("b", "blue")):
        Image.new("RGB", (8, 8), colour).save(folder / f"{name}.png")
    write_features(folder / "store", features, [folder / "a.png", folder / "b.png"], progress=False)


def read_store(folder: Path) -> bytes:
    store = FeatureStore.open(folder)
    known = (store.images, store.digests, store.skipped, store.origin, str(store.dtype))
    return digest(store.features()[:], store.scatter(), *known)


def write_study(folder: Path) -> None:
    result = study(folder, [neuron(0), neuron(1)])
    with np.load(result.map_file) as archive:
        arrays = dict(archive)
    flat = np.full((2, 2, 2, 2), 0.025, dtype=np.float32)
    evidence = [
        PairEvidence(flat, np.full((1, 2, 2, 2), 0.1, dtype=np.float32), np.ones((2, 8, 8), dtype=bool), (0.05, 0.1))
    ]
    for index, each in enumerate(result.neurons):
        packed = packed_evidence(evidence * len(each.pairs))
        arrays |= {f"{kind}/{index:05d}": array for kind, array in packed.items()}
    arrays |= {"responses": np.ones((2, 2), dtype=np.float32), "categories": np.array(["object", "body"])}
    names = np.array(["object0", "body0"])
    np.savez(result.map_file, **arrays, evidence_names=arrays["maps_names"], responses_names=names)  # type: ignore[arg-type]
    replace(result, settings={**result.settings, "format": FORMAT}).save(folder / "study.json")


def read_study(path: Path) -> bytes:
    """Also what is read later, when figures are drawn."""
    loaded = StudyResult.load(path.parent)
    shown = [pair.image for each in loaded.included for pair in each.pairs]
    maps = [loaded.maps(each.name, method) for each in loaded.included for method in loaded.methods if each.pairs]
    evidence = [
        part
        for each in loaded.included
        for pair in loaded.evidence(each.name) or ()
        for part in (pair.correspondence, pair.components, pair.significant, pair.p_values)
    ]
    responses = loaded.responses
    told = None if responses is None else (responses.images, responses.categories, *responses.mean.tolist())
    known = {name: value for name, value in asdict(loaded).items() if name != "map_file"}
    return digest(json.dumps(known, default=str), told, *maps, *evidence, *map(loaded.picture, shown))


def write_truth(folder: Path) -> None:
    simulate_recording(folder, format="npz", n_neurons=2, n_creatures=1, n_artefacts=1)


def read_truth(path: Path) -> bytes:
    world = simulated_world(path.parent)
    return digest(world.regions, *((each.name, sorted(each.tuning.items())) for each in world.neurons))


SEEDS = (
    recorded("npz", ".npz", None),
    Seed("npy", "recording.npy", write_npy, lambda path: of_recording(Recording.load(path, by_row=True)), RESIZING),
    recorded("csv", ".csv"),  # one that ends with an image may have been meant so
    Seed("table", "stimuli.csv", write_tabled, lambda path: read_recording(path.with_name("recording.npz")), SHORTER),
    recorded("parquet", ".parquet", SHORTER),
    recorded("hdf5", ".h5", SHORTER),
    recorded("netcdf", ".nc", SHORTER),
    Seed("assembly", "recording.nc", write_assembly, read_recording, SHORTER),
    Seed("nwb", "recording.nwb", write_nwb, read_recording, SHORTER),
    pictured("png", ".png", None),
    pictured("jpeg", ".jpg", SHORTER),
    pictured("gif", ".gif"),
    pictured("bmp", ".bmp", SHORTER),
    pictured("tiff", ".tif"),
    pictured("webp", ".webp", SHORTER),
    pictured("pgm", ".pgm", SHORTER, mode="L"),
    Seed("readout", "readout.safetensors", write_readout, read_readout, None),
    written_by(1),
    written_by(2),
    Seed("weights", "weights.safetensors", write_weights, lambda path: of_tensors(read_weights(path)), RESIZING),
    Seed("checkpoint", "weights.pt", write_checkpoint, lambda path: of_tensors(read_weights(path)), None),
    Seed(
        "embedded",
        "embedded.safetensors",
        write_embedded,
        lambda path: of_tensors(dict(embedded_network(path).state_dict())),
        RESIZING,
    ),
    Seed("store", "store/store.json", write_store, lambda path: read_store(path.parent), None),
    Seed("chunk", "store/features/0/0.0", write_store, lambda path: read_store(path.parents[2]), None),
    Seed("study", "study.json", write_study, read_study, SHORTER),
    Seed("maps", "maps.npz", write_study, lambda path: read_study(path.with_name("study.json")), None),
    Seed("truth", "truth.json", write_truth, read_truth, SHORTER),
)
