"""Time and memory of the pair methods against their peers, in one run.

For each network, on one pair of 224 px images (the recommended maps of SqueezeNet: 454 px, as in the task grid) and
after checking that the answers agree:

- the recommended maps, of :class:`PixelSharedCorrespondence`, against one raw forward and backward pass of both images
  through the same network cut by torchvision, and those of :class:`SharedCorrespondence` against a forward pass;
- the peak memory of the recommended maps against that of the raw pass, each in a process of its own;

- ``attribute`` with plain gradients of the paper's method against one raw forward and backward pass;
- the same against the full Jacobian of ``torch.autograd.functional.jacobian``, one backward pass a feature, times h
  (timed on ``--rows`` features, and scaled to all);
- Integrated Gradients against Captum's ``IntegratedGradients`` of the same function with the same steps;
- the peak memory of Integrated Gradients over the number of steps, each in a process of its own.

Peers take turns, and a ratio is the median of the ratios of the rounds.

    python benchmarks/speed.py --output speed.json

Populations, with ``--population``, are in ``speed_population.py``.
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from captum.attr import IntegratedGradients
from reporting import write_report
from speed_population import draw, measure_population
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.feature_extraction import create_feature_extractor
from tqdm import tqdm

from captum_shared import (
    LatentFeatures,
    LinearReadout,
    NeuronSimilarity,
    ParallelSharedAttribution,
    PixelSharedCorrespondence,
    SharedCorrespondence,
)

NETWORKS = {"squeezenet1_0": "features", "resnet18": "layer4", "resnet50": "layer4"}
PIXELS = {"squeezenet1_0": 454}  # of recommended maps; of all else 224
N_NEURONS = 48
PACKAGES = ("captum-shared", "captum", "torch", "torchvision")
STEPS, CHUNK = 50, 10  # Captum takes 50 steps by default


class Peer(nn.Module):
    """The cut network as torchvision makes it, average-pooled."""

    def __init__(self, model: nn.Module, layer: str) -> None:
        super().__init__()
        self.body = create_feature_extractor(model, {layer: "features"}).eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)["features"].mean((2, 3))


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def ratio(ours: Callable[[], object], peer: Callable[[], object], rounds: int) -> dict[str, float]:
    """Time both in turns, after one call of each to warm up, the order alternating."""
    ours(), peer()
    times = []
    for round_ in range(rounds):
        if round_ % 2:
            times.append((seconds(ours), seconds(peer)))
        else:
            second = seconds(peer)
            times.append((seconds(ours), second))
    return {
        "ours_s": statistics.median(ours for ours, _ in times),
        "peer_s": statistics.median(peer for _, peer in times),
        "ratio": statistics.median(ours / peer for ours, peer in times),
    }


def photograph(seed: int, layout: torch.memory_format, pixels: int = 224) -> Tensor:
    noise = torch.rand(1, 3, pixels, pixels, generator=torch.Generator().manual_seed(seed))
    return noise.contiguous(memory_format=layout)


class Contest:
    """Ours and the peers on one pair of images, as calls without arguments."""

    def __init__(self, name: str, dtype: torch.dtype, n_steps: int, layout: torch.memory_format) -> None:
        torch.manual_seed(0)
        model = get_model(name, weights=None).eval().to(dtype)
        features, self.peer = LatentFeatures(model, NETWORKS[name]), Peer(model, NETWORKS[name])
        self.pair = photograph(1, layout).to(dtype), photograph(2, layout).to(dtype)
        self.leaves = tuple(images.clone().requires_grad_() for images in self.pair)
        self.n_features = features(self.pair[0]).shape[1]
        similarity = NeuronSimilarity(features, LinearReadout(torch.randn(1, self.n_features)))
        self.weights = similarity.shared_weights(*self.pair)
        self.options = {"n_steps": n_steps, "internal_batch_size": CHUNK}
        self.method = ParallelSharedAttribution(similarity)
        self.integrated_method = ParallelSharedAttribution(similarity, "integrated_gradients")
        self.captums = IntegratedGradients(lambda x, r, h: (h * (self.peer(x) + self.peer(r))).sum(1))

    def gradient(self) -> tuple[Tensor, ...]:
        return self.method.attribute(self.pair)

    def raw(self) -> tuple[Tensor, ...]:
        return torch.autograd.grad(self.forward_only(), self.leaves, (self.weights, self.weights))

    def forward_only(self) -> tuple[Tensor, ...]:
        return tuple(self.peer(leaf) for leaf in self.leaves)

    def integrated(self) -> tuple[Tensor, ...]:
        return self.integrated_method.attribute(self.pair, **self.options)

    def captums_integrated(self) -> tuple[Tensor, ...]:
        return self.captums.attribute(self.pair, additional_forward_args=(self.weights,), **self.options)

    def some_rows(self, rows: int) -> None:
        for leaf in self.leaves:
            jacobian = torch.autograd.functional.jacobian(lambda x: self.peer(x)[0, :rows], leaf)
            torch.tensordot(self.weights[0, :rows], jacobian, 1)


class Places:
    """The correspondence of places and the raw network on one pair of images, as calls without arguments."""

    def __init__(self, name: str, layout: torch.memory_format) -> None:
        torch.manual_seed(0)
        model = get_model(name, weights=None).eval()
        features, self.peer = LatentFeatures(model, NETWORKS[name]), Peer(model, NETWORKS[name])
        first, second = (photograph(seed, layout, PIXELS.get(name, 224)) for seed in (1, 2))
        self.pair = first, second
        self.leaves = tuple(images.clone().requires_grad_() for images in self.pair)
        mean = features(torch.cat(self.pair)).mean(0)
        readout = LinearReadout(torch.randn(N_NEURONS, len(mean)), feature_mean=mean)
        similarity = NeuronSimilarity(features, readout)
        self.weights = similarity.shared_weights(*self.pair, 0)
        self.pixels, self.layer = PixelSharedCorrespondence(similarity), SharedCorrespondence(similarity)

    def recommended(self) -> tuple[Tensor, ...]:
        return self.pixels.attribute(self.pair, 0)

    def at_the_layer(self) -> tuple[Tensor, ...]:
        return self.layer.attribute(self.pair, 0)

    def raw(self) -> tuple[Tensor, ...]:
        return torch.autograd.grad([self.peer(leaf) for leaf in self.leaves], self.leaves, [self.weights] * 2)

    @torch.no_grad()
    def raw_forward(self) -> tuple[Tensor, ...]:
        return tuple(self.peer(images) for images in self.pair)


def measure_places(name: str, rounds: int, layout: torch.memory_format) -> dict[str, object]:
    contest = Places(name, layout)
    for refined, at_the_layer in zip(contest.recommended(), contest.at_the_layer(), strict=True):
        torch.testing.assert_close(refined.sum(), at_the_layer.sum())
    return {
        "pixels": PIXELS.get(name, 224),
        "recommended": ratio(contest.recommended, contest.raw, rounds),
        "at_the_layer": ratio(contest.at_the_layer, contest.raw_forward, rounds),
        "peak_memory_MiB": {each: in_own_process(peak_memory_of_places, name, each) for each in ("raw", "recommended")},
    }


def check_answers(name: str, layout: torch.memory_format) -> None:
    """Compare in double precision, where no unit is on the wrong side of its threshold by rounding."""
    contest = Contest(name, torch.float64, 3, layout)
    for ours, peer in ((contest.gradient, contest.raw), (contest.integrated, contest.captums_integrated)):
        for mine, theirs in zip(ours(), peer(), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-9 * float(theirs.abs().max()))


def measure(name: str, rounds: int, rows: int, layout: torch.memory_format) -> dict[str, object]:
    check_answers(name, layout)
    contest = Contest(name, torch.float32, STEPS, layout)
    plain = ratio(contest.gradient, contest.raw, rounds)
    forward = ratio(contest.forward_only, contest.raw, max(3, rounds // 4))["ours_s"]
    rows_s = statistics.median(seconds(lambda: contest.some_rows(rows)) for _ in range(5))
    jacobian_s = forward + (rows_s - forward) * contest.n_features / rows
    return {
        "n_features": contest.n_features,
        "gradient": plain,
        "full_jacobian": {
            "seconds": jacobian_s,
            "rows_timed": rows,
            "times_slower": jacobian_s / plain["ours_s"],
            "times_slower_per_feature": jacobian_s / plain["ours_s"] / contest.n_features,
        },
        "integrated_gradients": ratio(contest.integrated, contest.captums_integrated, max(3, rounds // 2)),
    }


def peak_memory(n_steps: int) -> float:
    """Peak resident memory in MiB of a process that runs Integrated Gradients with so many steps (Linux)."""
    torch.manual_seed(0)
    similarity = NeuronSimilarity(
        LatentFeatures(get_model("squeezenet1_0", weights=None), "features"), LinearReadout.uniform(512)
    )
    method = ParallelSharedAttribution(similarity, "integrated_gradients")
    images = torch.rand(1, 3, 224, 224)
    method.attribute((images, images.flip(3)), n_steps=n_steps, internal_batch_size=CHUNK)
    return peak_memory_of_process()


def peak_memory_of_places(name: str, call: str) -> float:
    contest = Places(name, torch.contiguous_format)
    for _ in range(3):
        getattr(contest, call)()
    return peak_memory_of_process()


def peak_memory_of_process() -> float:
    # getrusage would tell the peak of the parent where that was higher: it survives the start of a new program
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def in_own_process(call: Callable[..., float], *arguments: object) -> float | None:
    if not Path("/proc/self/status").exists():  # outside Linux
        return None
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(call, arguments)


def memory_over_steps() -> dict[str, float | None]:
    return {str(n_steps): in_own_process(peak_memory, n_steps) for n_steps in (20, 40, 80, 160)}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time and memory of the pair method against its peers.")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=16, help="features of the full Jacobian that are timed")
    parser.add_argument("--output", type=Path, default=Path("speed.json"))
    parser.add_argument("--places", action="store_true", help="only the correspondence of places")
    parser.add_argument("--channels-last", action="store_true", help="memory layout of the images, for all peers")
    parser.add_argument("--population", action="store_true", help="only what is about many neurons, in a few minutes")
    chosen = parser.parse_args()
    if chosen.population:
        report = measure_population(min(chosen.rounds, 3), in_own_process)
        write_report(chosen.output, {**report, "settings": {"seed": 0, "rounds": min(chosen.rounds, 3)}}, PACKAGES)
        draw(report, chosen.output.with_suffix(".png"))
        return
    layout = torch.channels_last if chosen.channels_last else torch.contiguous_format

    places = {name: measure_places(name, chosen.rounds, layout) for name in tqdm(chosen.networks)}
    for name, result in places.items():
        print(
            f"{name}, {result['pixels']} px: recommended {result['recommended']['ratio']:.2f} of a raw pass, "
            f"at the layer {result['at_the_layer']['ratio']:.2f} of a forward pass; "
            f"peak memory, MiB: {result['peak_memory_MiB']}"
        )
    names = [] if chosen.places else chosen.networks
    results = {name: measure(name, chosen.rounds, chosen.rows, layout) for name in tqdm(names)}
    report = {
        "places": places,
        "networks": results,
        "peak_memory_MiB_over_n_steps": {} if chosen.places else memory_over_steps(),
        "settings": {
            "pixels": 224,
            "neurons_of_places": N_NEURONS,
            "steps": STEPS,
            "internal_batch_size": CHUNK,
            "rounds": chosen.rounds,
            "layout": str(layout),
            "seed": 0,
        },
    }
    write_report(chosen.output, report, PACKAGES)
    for name, result in results.items():
        print(
            f"{name}: gradient {result['gradient']['ratio']:.3f} of a raw pass; full Jacobian "
            f"{result['full_jacobian']['times_slower']:.0f} times slower "
            f"({result['full_jacobian']['times_slower_per_feature']:.2f} per feature); "
            f"Integrated Gradients {result['integrated_gradients']['ratio']:.3f} of Captum's"
        )
    print("peak memory of Integrated Gradients, MiB, by number of steps:", report["peak_memory_MiB_over_n_steps"])


if __name__ == "__main__":
    main()
