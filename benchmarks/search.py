"""Time and memory of the search for references against its peers and products of matrices alone, in one run.

For each number of references, after checking on some neurons that the references are those of a search in float64:

- :meth:`ReferenceBank.search_all` for all neurons and images;
- the product of matrices alone, (neurons x images, feature) by (feature, reference), in single precision, as blocks of
  ``torch.matmul``: the least that a search by products can take;
- a loop of cosines in NumPy: each image of each neuron with all references;
- the same with all images of a neuron in one product of NumPy;
- scikit-learn's ``cosine_similarity`` of weighted features, neuron by neuron;
- faiss's ``IndexFlatIP`` of weighted features of length 1, neuron by neuron (extra ``peers``);
- how it was done before: neuron by neuron in float64, all of its images at once or one after the other.

Peers take turns. Those that go neuron by neuron are timed on ``--peer-neurons`` neurons, what goes image by image on
one image of each, and scaled to all. A ratio is the median of the ratios of the rounds. On a machine that does other
work too, those of the processor's time tell more, with one thread (OMP_NUM_THREADS=1).

    python benchmarks/search.py --output search.json --figure search.png
    python benchmarks/search.py --references 1000000 --neurons 256 --stream /tmp  # read from a file
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import NamedTemporaryFile

import faiss
import numpy as np
import torch
from matplotlib.figure import Figure
from reporting import write_report
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor, nn
from tqdm import tqdm

from captum_shared import LinearReadout, NeuronSimilarity, ReferenceBank
from captum_shared.attr import pairwise_similarity

BLOCK = 2**14  # references of a product
TITLES = {
    "ours": "search_all",
    "matmul": "torch.matmul alone",
    "numpy_loop": "NumPy, image by image",
    "numpy": "NumPy, neuron by neuron",
    "scikit_learn": "scikit-learn, neuron by neuron",
    "faiss": "faiss, neuron by neuron",
    "before": "float64, neuron by neuron",
    "before_loop": "float64, image by image",
}


class Contest:
    """The search and its peers on the same features, as calls without arguments."""

    def __init__(self, chosen: argparse.Namespace, n_references: int, file: Path | None) -> None:
        generator = torch.Generator().manual_seed(0)
        n_features, self.top_k = chosen.features, chosen.top_k
        self.references = stored(n_references, n_features, file)
        self.images = torch.randn(chosen.images, n_features, generator=generator).relu()
        self.weight = torch.randn(chosen.neurons, n_features, generator=generator)
        self.mean = torch.full((n_features,), 0.4)  # about the mean of what a ReLU leaves of a normal distribution
        self.some = range(min(chosen.peer_neurons, chosen.neurons))
        similarity = NeuronSimilarity(nn.Identity(), LinearReadout(self.weight, feature_mean=self.mean))
        responses = torch.zeros(n_references, chosen.neurons)
        self.bank = ReferenceBank.from_features(similarity, self.references, responses=responses, driver_fraction=1.0)
        self.rows = torch.randn(chosen.neurons * chosen.images, n_features, generator=generator)

    def calls(self) -> dict[str, tuple[Callable[[], object], float]]:
        """Each call, and by what its time is to be multiplied to be that of all neurons and images."""
        scale = len(self.weight) / len(self.some)
        return {
            "ours": (self.ours, 1.0),
            "matmul": (self.matmul, 1.0),
            "numpy_loop": (self.numpy_loop, scale * len(self.images)),
            "numpy": (self.numpy, scale),
            "scikit_learn": (self.scikit_learn, scale),
            "faiss": (self.faiss, scale),
            "before": (lambda: self.before(self.images), scale),
            "before_loop": (lambda: self.before(self.images[:1]), scale * len(self.images)),
        }

    def ours(self) -> Tensor:
        return self.bank.search_all(self.images, top_k=self.top_k).indices

    def matmul(self) -> None:
        out = torch.empty(min(4096, len(self.rows)), BLOCK)
        for first in range(0, len(self.references), BLOCK):
            block = torch.from_numpy(np.array(self.references[first : first + BLOCK]))
            for rows in self.rows.split(4096):
                torch.matmul(rows, block.T, out=out[: len(rows), : len(block)])

    def weighted(self, neuron: int) -> tuple[np.ndarray, np.ndarray]:
        weight, mean = self.weight[neuron].numpy(), self.mean.numpy()
        return (self.images.numpy() - mean) * weight, (self.references - mean) * weight

    def best(self, cosines: np.ndarray) -> np.ndarray:
        largest = np.argpartition(-cosines, self.top_k - 1, axis=1)[:, : self.top_k]
        order = np.argsort(-np.take_along_axis(cosines, largest, 1), axis=1, kind="stable")
        return np.take_along_axis(largest, order, 1)

    def numpy_loop(self) -> None:
        mean = self.mean.numpy()
        for neuron in self.some:
            weight, image = self.weight[neuron].numpy(), self.images[0].numpy()
            one, others = (image - mean) * weight, (self.references - mean) * weight
            cosines = others @ one / (np.linalg.norm(others, axis=1) * np.linalg.norm(one))
            self.best(cosines[None])

    def numpy(self) -> list[np.ndarray]:
        found = []
        for neuron in self.some:
            images, references = self.weighted(neuron)
            norms = np.linalg.norm(images, axis=1)[:, None] * np.linalg.norm(references, axis=1)
            found.append(self.best(images @ references.T / norms))
        return found

    def scikit_learn(self) -> list[np.ndarray]:
        return [self.best(cosine_similarity(*self.weighted(neuron))) for neuron in self.some]

    def faiss(self) -> list[np.ndarray]:
        found = []
        for neuron in self.some:
            images, references = self.weighted(neuron)
            faiss.normalize_L2(images), faiss.normalize_L2(references)
            index = faiss.IndexFlatIP(references.shape[1])
            index.add(references)
            found.append(index.search(images, self.top_k)[1])
        return found

    def before(self, images: Tensor) -> list[Tensor]:
        """All in float64, and all again for each neuron."""
        found, images = [], images.double() - self.mean.double()
        for neuron in self.some:
            indices, cosines = torch.empty(len(images), 0, dtype=torch.long), torch.empty(len(images), 0)
            for rows in torch.arange(len(self.references)).split(2**24 // images.shape[1]):
                references = torch.from_numpy(self.references[rows.numpy()]).double() - self.mean.double()
                block = pairwise_similarity(images, references, self.weight[neuron])
                cosines = torch.cat([cosines, block], 1)
                indices = torch.cat([indices, rows.expand(len(images), -1)], 1)
                best = cosines.float().topk(min(self.top_k, cosines.shape[1])).indices
                indices, cosines = indices.gather(1, best), cosines.gather(1, best)
            found.append(indices)
        return found

    def check(self) -> float:
        """Compare with NumPy in float64, and return the share of the peers' answers that is that of float64."""
        ours, agreed = self.ours().numpy(), []
        for number, neuron in enumerate(self.some):
            weight, mean = self.weight[neuron].double().numpy(), self.mean.double().numpy()
            images = (self.images.double().numpy() - mean) * weight
            images /= np.linalg.norm(images, axis=1, keepdims=True)
            blocks = (self.references[first : first + BLOCK] for first in range(0, len(self.references), BLOCK))
            weighted = ((block.astype(np.float64) - mean) * weight for block in blocks)
            cosines = np.concatenate(
                [images @ (block / np.linalg.norm(block, axis=1, keepdims=True)).T for block in weighted], 1
            )
            expected = self.best(cosines)
            if not np.array_equal(ours[:, neuron], expected):
                raise SystemExit(f"The search found other references for neuron {neuron} than a search in float64.")
            if number == 0:
                peers = (self.numpy, self.scikit_learn, self.faiss, lambda: [self.before(self.images)[0].numpy()])
                agreed += [np.mean(peer()[0] == expected) for peer in peers]
        return float(min(agreed))


def stored(n_references: int, n_features: int, file: Path | None) -> np.ndarray:
    """Random features after a ReLU, in memory or in a file that is read as it is sliced."""
    shape, generator = (n_references, n_features), np.random.default_rng(1)
    features = np.empty(shape, np.float32) if file is None else np.memmap(file, np.float32, "w+", shape=shape)
    for first in range(0, n_references, BLOCK):
        rows = min(BLOCK, n_references - first)
        features[first : first + rows] = generator.standard_normal((rows, n_features), np.float32).clip(min=0)
    return features


@contextmanager
def place_for(folder: Path | None) -> Iterator[Path | None]:
    with nullcontext() if folder is None else NamedTemporaryFile(dir=folder) as file:
        yield None if file is None else Path(file.name)


def seconds(call: Callable[[], object]) -> np.ndarray:
    """Of the clock on the wall, and of the processor."""
    start = np.array([time.perf_counter(), time.process_time()])
    call()
    return np.array([time.perf_counter(), time.process_time()]) - start


def measure(chosen: argparse.Namespace, n_references: int) -> dict[str, object]:
    with place_for(chosen.stream) as file:
        contest = Contest(chosen, n_references, file)
        agreed, calls = contest.check(), contest.calls()
        rounds = [
            {name: seconds(call) * scale for name, (call, scale) in calls.items()}
            for _ in tqdm(range(chosen.rounds), desc=f"{n_references} references")
        ]
    operations = 2 * n_references * chosen.features * chosen.neurons * chosen.images
    wall, processor = ([{name: each[clock] for name, each in times.items()} for times in rounds] for clock in (0, 1))
    return {
        "references": n_references,
        "smallest_share_of_peers_answers_that_are_those_of_float64": agreed,
        "scaled_by": {name: scale for name, (_, scale) in calls.items() if scale != 1},
        "wall": ratios(wall, operations),
        "processor": ratios(processor, operations),
        "memory_MiB": in_own_process(memory, chosen, n_references),
    }


def ratios(rounds: list[dict[str, float]], operations: int) -> dict[str, object]:
    return {
        "median_s": {name: statistics.median(times[name] for times in rounds) for name in TITLES},
        "best_s": {name: min(times[name] for times in rounds) for name in TITLES},
        "matmul_gflops": max(operations / times["matmul"] for times in rounds) / 1e9,
        "fraction_of_matmul_rate": statistics.median(times["matmul"] / times["ours"] for times in rounds),
        "best_fraction_of_matmul_rate": max(times["matmul"] / times["ours"] for times in rounds),
        "times_faster_than": {
            name: statistics.median(times[name] / times["ours"] for times in rounds)
            for name in TITLES
            if name not in ("ours", "matmul")
        },
    }


def memory(chosen: argparse.Namespace, n_references: int) -> dict[str, float]:
    """Peak resident memory in MiB beyond that of the process before the search, of features that are in memory."""
    contest = Contest(chosen, n_references, None)
    before = status("VmRSS")
    contest.ours()
    return {"of_the_search": status("VmHWM") - before, "of_the_features": contest.references.nbytes / 2**20}


def status(line: str) -> float:
    lines = dict(each.split(":", 1) for each in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return int(lines[line].split()[0]) / 1024


def in_own_process(
    call: Callable[..., dict[str, float]], chosen: argparse.Namespace, n_references: int
) -> dict[str, float] | None:
    if not Path("/proc/self/status").exists():  # outside Linux
        return None
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(call, (chosen, n_references))


def drawn(results: list[dict[str, object]], chosen: argparse.Namespace) -> Figure:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    counts = [result["references"] for result in results]
    for name, title in TITLES.items():
        style = {"color": "black", "linestyle": "--"} if name == "matmul" else {"marker": "o"}
        axes.plot(counts, [result["processor"]["median_s"][name] for result in results], label=title, **style)
    axes.set(xscale="log", yscale="log", xlabel="references", ylabel="seconds of the processor")
    axes.set_title(f"{chosen.neurons} neurons, {chosen.images} images, {chosen.features} features", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right", frameon=False, fontsize=9)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the search for references against its peers.")
    parser.add_argument("--references", type=int, nargs="+", default=[10_000, 100_000], help="up to 1000000 and more")
    parser.add_argument("--features", type=int, default=512)
    parser.add_argument("--neurons", type=int, default=64)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--top-k", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-neurons", type=int, default=2, help="neurons on which the peers are timed")
    parser.add_argument("--stream", type=Path, help="folder for a file of the references, read as it is searched")
    parser.add_argument("--output", type=Path, default=Path("search.json"))
    parser.add_argument("--figure", type=Path, help="file of a figure of all times")
    chosen = parser.parse_args()

    results = [measure(chosen, n_references) for n_references in chosen.references]
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in vars(chosen).items()}
    settings = {name: value for name, value in settings.items() if name not in ("output", "figure", "references")}
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none at hand: all on the CPU"
    report = {"results": results, "settings": {**settings, "seed": 0, "gpu": gpu}}
    write_report(chosen.output, report, ("captum-shared", "torch", "numpy", "scikit-learn", "faiss-cpu"))
    if chosen.figure is not None:
        drawn(results, chosen).savefig(chosen.figure, dpi=100)
    for result in results:
        print(f"{result['references']} references; memory, MiB: {result['memory_MiB']}")
        for clock in ("wall", "processor"):
            told = result[clock]
            faster = ", ".join(f"{TITLES[name]} {ratio:.0f}" for name, ratio in told["times_faster_than"].items())
            print(
                f"by the {clock}: {told['median_s']['ours']:.2f} s, {told['fraction_of_matmul_rate']:.0%} of "
                f"torch.matmul's rate ({told['matmul_gflops']:.0f} GFLOP/s); times faster than {faster}"
            )


if __name__ == "__main__":
    main()
