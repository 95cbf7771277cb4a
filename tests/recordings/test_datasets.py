import gc
import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pooch
import pytest
import scipy.io
import torch
from scipy.spatial.distance import squareform
from toys import real_data

from captum_shared import LatentFeatures, heldout_correlation
from captum_shared.images import load_image
from captum_shared.recordings import datasets
from captum_shared.recordings.datasets import kriegeskorte92, preference, response_modes

KINDS = ("human bodypart", "human face", "nonhuman bodypart", "nonhuman face", "natural inanimate")
KINDS += ("artificial inanimate",)


def correlations(seed: int, n_images: int = 12, n_neurons: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Responses standardised across neurons, image by image, and one minus their correlations."""
    responses = np.random.default_rng(seed).normal(size=(n_images, n_neurons)) + np.arange(n_images)[:, None] % 3
    responses -= responses.mean(axis=1, keepdims=True)
    responses /= np.linalg.norm(responses, axis=1, keepdims=True)
    return responses, 1 - responses @ responses.T


def principal_components(responses: np.ndarray, n: int) -> np.ndarray:
    """By singular values; the image with the largest absolute value has a positive one."""
    u, s, _ = np.linalg.svd(responses - responses.mean(axis=0))
    modes = u[:, :n] * s[:n]
    return modes * np.sign(modes[np.abs(modes).argmax(axis=0), np.arange(n)])


def mean_correlation(responses: np.ndarray, members: list[int]) -> list[float]:
    """Of each image with the members but itself."""
    r = np.corrcoef(responses)
    return [float(np.mean([r[image, other] for other in members if other != image])) for image in range(len(r))]


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file like the published one, of 12 images, two of each kind."""
    path, rng = tmp_path / "small.mat", np.random.default_rng(0)
    stimuli = np.array(
        [(kind, rng.integers(0, 256, (175, 175, 3), dtype=np.uint8)) for kind in KINDS for _ in range(2)],
        dtype=[("category", object), ("image", object)],
    )
    _, dissimilarities = correlations(1)
    rdms = np.array(
        [("monkey", squareform(dissimilarities, checks=False)), ("human", np.zeros(66))],
        dtype=[("name", object), ("RDM", object)],
    )
    scipy.io.savemat(path, {"stimuli_92objs": stimuli[None], "RDMs_mIT_hIT_fig1": rdms[None]})
    monkeypatch.setattr(datasets, "KRIEGESKORTE92_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.requests += 1
        content = self.server.content
        self.send_response(200 if content is not None else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write((content or b"")[: self.server.sent])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    """A web server that stands in for the public repository."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as running:
        running.content, running.sent, running.requests = None, None, 0
        monkeypatch.setattr(datasets, "KRIEGESKORTE92_URL", f"http://127.0.0.1:{running.server_port}/toolbox/92.mat")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        thread = Thread(target=partial(running.serve_forever, poll_interval=0.01))
        thread.start()
        yield running
        running.shutdown()
        thread.join()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # after an error, pooch leaves a connection to the garbage collector
        gc.collect()


def test_modes_are_the_principal_components_of_the_responses():
    responses, dissimilarities = correlations(2)
    centred = responses - responses.mean(axis=0)
    modes = response_modes(dissimilarities, 11)
    np.testing.assert_allclose(modes, principal_components(responses, 11), atol=1e-9)
    np.testing.assert_allclose(modes.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(modes @ modes.T, centred @ centred.T, atol=1e-9)


def test_preference_by_hand():
    responses, dissimilarities = correlations(3, n_images=5)
    members = np.array([True, False, True, True, False])
    expected = mean_correlation(responses, [0, 2, 3])
    np.testing.assert_allclose(preference(dissimilarities, members), expected, rtol=1e-9)


def test_the_recording_of_a_file(published, tmp_path):
    recording = kriegeskorte92(published, n_modes=2, cache=tmp_path / "cache")
    responses, _ = correlations(1)
    bodies, faces = [0, 1, 4, 5], [2, 3, 6, 7]
    expected = np.column_stack(
        [principal_components(responses, 2), mean_correlation(responses, bodies), mean_correlation(responses, faces)]
    )
    np.testing.assert_allclose(recording.responses, expected[None], atol=1e-12)
    assert recording.neuron_names == ("mode 1", "mode 2", "body preference", "face preference")
    assert recording.categories == ("body",) * 2 + ("face",) * 2 + ("body",) * 2 + ("face",) * 2 + ("object",) * 4
    assert recording.stimulus_ids[::5] == ("01_human_bodypart", "06_nonhuman_bodypart", "11_artificial_inanimate")
    assert set(recording.regions) == {"IT"}
    assert set(recording.subjects) == {"macaque"}
    stimuli = scipy.io.loadmat(published, simplify_cells=True)["stimuli_92objs"]
    for path, stimulus in zip(recording.paths, stimuli, strict=True):
        np.testing.assert_array_equal(np.asarray(load_image(path)), stimulus["image"])
    assert not list((tmp_path / "cache").rglob(".*"))  # no temporary file is left


def test_images_in_the_cache_stay(published, tmp_path):
    first = kriegeskorte92(published, cache=tmp_path / "cache").paths[0]
    written = first.stat().st_mtime_ns
    second = kriegeskorte92(published, cache=tmp_path / "cache").paths[1]
    content = second.read_bytes()
    second.unlink()
    kriegeskorte92(published, cache=tmp_path / "cache")
    assert first.stat().st_mtime_ns == written
    assert second.read_bytes() == content


def test_without_a_path_the_file_is_downloaded_once(published, server, tmp_path):
    server.content = published.read_bytes()
    downloaded = kriegeskorte92(cache=tmp_path / "cache")
    again = kriegeskorte92(cache=tmp_path / "cache")
    assert server.requests == 1
    assert (tmp_path / "cache" / "92.mat").read_bytes() == server.content
    expected = kriegeskorte92(published, cache=tmp_path / "other")
    np.testing.assert_array_equal(downloaded.responses, expected.responses)
    np.testing.assert_array_equal(again.responses, expected.responses)


def test_the_cache_is_the_users(published, server, tmp_path, monkeypatch):
    server.content = published.read_bytes()
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / "home" / project)
    assert kriegeskorte92().paths[0].parents[1] == tmp_path / "home" / "captum-shared"
    assert (tmp_path / "home" / "captum-shared" / "92.mat").read_bytes() == server.content


def test_a_damaged_file_in_the_cache_is_downloaded_again(published, server, tmp_path):
    server.content = published.read_bytes()
    (tmp_path / "92.mat").write_bytes(server.content[:1000])
    kriegeskorte92(cache=tmp_path)
    assert (tmp_path / "92.mat").read_bytes() == server.content


@pytest.mark.parametrize(
    ("damage", "error", "told"),
    [
        ({"content": None}, FileNotFoundError, "404"),
        ({"sent": 1000}, FileNotFoundError, "[Ii]ncomplete|broken"),
        ({"content": b"another file"}, ValueError, "does not match the known hash"),
    ],
)
def test_a_download_that_fails_leaves_nothing(published, server, tmp_path, damage, error, told):
    server.content = published.read_bytes()
    for name, value in damage.items():
        setattr(server, name, value)
    with pytest.raises(error, match=told) as raised:
        kriegeskorte92(cache=tmp_path / "cache")
    assert str(raised.value).startswith("Expected to download http://127.0.0.1")
    assert str(raised.value).endswith("Try again later, or pass the path of a copy that you have.")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_a_file_that_is_not_the_published_one(published, tmp_path):
    damaged = tmp_path / "damaged.mat"
    damaged.write_bytes(published.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"Expected the published file .*damaged\.mat.* Leave the path out"):
        kriegeskorte92(damaged, cache=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("n_modes", [0, 12])
def test_too_few_and_too_many_modes(published, tmp_path, n_modes):
    with pytest.raises(ValueError, match=f"n_modes from 1 to 11, .*got {n_modes}"):
        kriegeskorte92(published, n_modes=n_modes, cache=tmp_path)


def test_a_preference_needs_two_members():
    with pytest.raises(ValueError, match="at least 2 images of the category, got 1"):
        preference(correlations(0)[1], np.arange(12) == 3)


@pytest.fixture(scope="module")
def macaque(tmp_path_factory: pytest.TempPathFactory):
    return kriegeskorte92(real_data("kriegeskorte92.mat"), cache=tmp_path_factory.mktemp("cache"))


def test_the_published_images(macaque):
    assert Counter(macaque.categories) == {"body": 24, "face": 24, "object": 44}
    assert len(set(macaque.stimulus_ids)) == 92
    assert {load_image(path).size for path in macaque.paths} == {(175, 175)}
    assert load_image(macaque.paths[0]).getpixel((0, 0)) == (128, 128, 128)  # all stand on mid-grey


def test_the_first_mode_is_of_faces_and_the_second_of_bodies(macaque):
    means = {
        category: macaque.mean[macaque.in_category(category)].mean(axis=0) for category in ("body", "face", "object")
    }
    assert means["face"][0] - max(means["body"][0], means["object"][0]) > 0.3
    assert means["body"][1] - max(means["face"][1], means["object"][1]) > 0.2
    assert means["face"][5] - max(means["body"][5], means["object"][5]) > 0.1  # face preference


def test_squeezenet_predicts_the_response_modes_of_macaque_it(macaque):
    weights = real_data("squeezenet1_0_imagenet.safetensors")
    features = LatentFeatures.from_torchvision("squeezenet1_0", weights=weights, layer="features")
    with torch.no_grad():
        latent = features(macaque.load_images(features.preprocess))
    for seed in range(3):
        correlations_of_modes = heldout_correlation(latent, macaque.mean, random_state=seed)
        assert (correlations_of_modes[:4] >= 0.65).all(), correlations_of_modes  # 0.92, 0.77, 0.67 to 0.71, 0.77
