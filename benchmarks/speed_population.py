"""Maps of many neurons, and of one pair, against their peers: the part of ``speed.py`` about populations.

All on a ResNet-18 with random weights, cut at its last block, after checking in float64 that the answers agree:

- ``attribute_neurons`` for 32 neurons, and for twice as many neurons as features, against single calls;
- maps per second and peak memory of one pair: ours, the full Jacobian (``torch.func.jacrev``) times h, a backward pass
  for each feature times h, Captum's Saliency and Integrated Gradients of the similarity, and occlusion at stride 16;
- over features, neurons, the size of the images and the steps of Integrated Gradients;
- the steps and the deltas of ``n_steps="auto"`` against fixed numbers, on pairs of the task ``parts``;
- memory formats and precisions, each with its difference from float64.

    python benchmarks/speed.py --population --output speed_population.json
"""

import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from captum.attr import IntegratedGradients, Occlusion, Saliency
from matplotlib import pyplot as plt
from torch import Tensor
from torchvision.models import get_model

from captum_shared import LatentFeatures, LinearReadout, NeuronSimilarity, ParallelSharedAttribution
from captum_shared.evaluation import parts_task

WIDTHS = {"layer2": 128, "layer3": 256, "layer4": 512}
Call = Callable[[], Any]


class Population:
    """A pair of noise images and neurons, and the ways to explain them, as calls without arguments."""

    def __init__(
        self, pixels: int, n_neurons: int = 1, *, layer: str = "layer4", dtype: torch.dtype = torch.float32
    ) -> None:
        torch.manual_seed(0)
        model = get_model("resnet18", weights=None).eval().requires_grad_(False).to(dtype)
        self.features, n_features = LatentFeatures(model, layer), WIDTHS[layer]
        weight = torch.randn(n_neurons, n_features, dtype=torch.float64).to(dtype)
        self.similarity = NeuronSimilarity(self.features, LinearReadout(weight))
        first, second = torch.rand(2, 1, 3, pixels, pixels, dtype=torch.float64).to(dtype)
        self.pair, self.n_neurons, self.n_features = (first, second), n_neurons, n_features
        self.method = ParallelSharedAttribution(self.similarity)
        self.integrated = ParallelSharedAttribution(self.similarity, "integrated_gradients")

    def together(self) -> None:
        for _ in self.method.attribute_neurons(self.pair):
            pass

    def one_by_one(self) -> None:
        for neuron in range(self.n_neurons):
            self.method.attribute(self.pair, neuron)

    def ours(self) -> tuple[Tensor, ...]:
        return self.method.attribute(self.pair, 0)

    def jacrev(self) -> tuple[Tensor, ...]:
        h = self.similarity.shared_weights(*self.pair, 0)[0]
        jacobian = torch.func.jacrev(lambda x: self.features(x)[0], chunk_size=64)
        return tuple(torch.tensordot(h, jacobian(x), 1) for x in self.pair)

    def a_pass_a_feature(self) -> tuple[Tensor, ...]:
        h, maps = self.similarity.shared_weights(*self.pair, 0)[0], []
        for images in self.pair:
            leaf = images.clone().requires_grad_()
            features = self.features(leaf)[0]
            rows = [torch.autograd.grad(feature, leaf, retain_graph=True)[0] for feature in features]
            maps.append(torch.tensordot(h, torch.stack(rows), 1))
        return tuple(maps)

    def saliency(self) -> tuple[Tensor, ...]:
        return Saliency(self.similarity).attribute(tuple(x.clone().requires_grad_() for x in self.pair), 0)

    def integrate(self, n_steps: Any = 50) -> tuple[Tensor, ...]:
        return self.integrated.attribute(self.pair, 0, n_steps=n_steps, internal_batch_size=10)

    def captums_integrate(self, n_steps: int = 50) -> tuple[Tensor, ...]:
        return IntegratedGradients(self.similarity).attribute(
            self.pair, target=0, n_steps=n_steps, internal_batch_size=10
        )

    @torch.no_grad()
    def occlusion(self) -> tuple[Tensor, ...]:
        window, stride = ((3, 32, 32),) * 2, ((3, 16, 16),) * 2
        return Occlusion(self.similarity).attribute(self.pair, window, strides=stride, target=0)


WAYS = {
    "ours": "ours",
    "ours, Integrated Gradients (50 steps)": "integrate",
    "Captum's Saliency of the similarity": "saliency",
    "Captum's Integrated Gradients of the similarity (50 steps)": "captums_integrate",
    "occlusion, stride 16": "occlusion",
    "full Jacobian (torch.func.jacrev)": "jacrev",
    "one backward pass a feature": "a_pass_a_feature",
}


def seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turns(calls: dict[str, Call], rounds: int) -> dict[str, float]:
    """The shortest time of each; another program can only make it longer."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
    return {name: min(each) for name, each in times.items()}


def check_answers() -> dict[str, float]:
    """The largest relative difference in float64."""
    small = Population(32, 600, dtype=torch.float64)
    right = small.ours()
    off = {name: difference(getattr(small, name)(), right) for name in ("jacrev", "a_pass_a_feature")}
    for strategy in ("backward", "jacobian"):
        neurons = list(small.method.attribute_neurons(small.pair, range(3), strategy=strategy))
        off[strategy] = max(difference(maps, small.method.attribute(small.pair, neuron)) for neuron, maps in neurons)
    if max(off.values()) > 1e-10:
        raise ValueError(f"The answers differ by {off}.")
    return off


def difference(maps: tuple[Tensor, ...], right: tuple[Tensor, ...]) -> float:
    return max(
        float((one.double() - other.double()).norm() / other.double().norm())
        for one, other in zip(maps, right, strict=True)
    )


def many_neurons(pixels: int, n_neurons: int, rounds: int) -> dict[str, Any]:
    contest = Population(pixels, n_neurons)
    times = in_turns({"together_s": contest.together, "one_by_one_s": contest.one_by_one}, rounds)
    strategy = contest.method.attribute_neurons(contest.pair, range(1) if n_neurons < 512 else None).strategy
    ratio = times["together_s"] / times["one_by_one_s"]
    return {"pixels": pixels, "neurons": n_neurons, "strategy": strategy, **times, "ratio": ratio}


def peers(pixels: int, rounds: int, memory: Callable[..., float | None]) -> dict[str, Any]:
    contest = Population(pixels)
    times = in_turns({name: getattr(contest, way) for name, way in WAYS.items()}, rounds)
    peaks = {name: memory(peak, pixels, way) for name, way in WAYS.items()}
    return {name: {"maps_per_second": 2 / times[name], "peak_memory_MiB": peaks[name]} for name in WAYS}


def peak(pixels: int, way: str) -> float:
    getattr(Population(pixels), way)()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def scaling(rounds: int) -> dict[str, Any]:
    result: dict[str, Any] = {"features": {}, "neurons": {}, "pixels": {}, "steps": {}}
    for layer, n_features in WIDTHS.items():
        contest = Population(64, layer=layer)
        result["features"][n_features] = in_turns(
            {"ours": contest.ours, "a pass a feature": contest.a_pass_a_feature}, rounds
        )
    for n_neurons in (1, 8, 64, 512, 1024):
        result["neurons"][n_neurons] = in_turns({"ours": Population(64, n_neurons).together}, 1)
    for pixels in (64, 112, 224):
        contest = Population(pixels)
        result["pixels"][pixels] = in_turns({"ours": contest.ours, "Captum's Saliency": contest.saliency}, rounds)
    contest = Population(64)
    for n_steps in (10, 20, 50):
        calls: dict[str, Call] = {
            "ours": lambda n_steps=n_steps: contest.integrate(n_steps),
            "Captum's": lambda n_steps=n_steps: contest.captums_integrate(n_steps),
        }
        result["steps"][n_steps] = in_turns(calls, rounds)
    return result


def automatic_steps(n_pairs: int) -> dict[str, Any]:
    """Steps until the delta of each pair of the task ``parts`` is below 1 %, from black."""
    task = parts_task(n_neurons=n_pairs, n_fitted=200)
    images = torch.stack([task.trial(index).images[:2] for index in range(n_pairs)], 1)
    inputs, target = (images[0], images[1]), list(range(n_pairs))
    method = ParallelSharedAttribution(task.similarity, "integrated_gradients")
    options: dict[str, Any] = {"internal_batch_size": 64, "return_convergence_delta": True}
    with warnings.catch_warnings(record=True) as missed:
        maps, delta, steps = method.attribute(inputs, target, n_steps="auto", return_n_steps=True, **options)
    goal = (sum(one.sum((1, 2, 3)) for one in maps) - delta).abs()
    exact = method.attribute(inputs, target, n_steps=100, internal_batch_size=64)
    fixed, errors = {}, {"auto": difference(maps, exact)}
    for n_steps in (16, 25, 32, 40, 50, 64):
        maps, each = method.attribute(inputs, target, n_steps=n_steps, **options)
        fixed[n_steps] = (each.abs() / goal).tolist()
        errors[str(n_steps)] = difference(maps, exact)
    enough = next((n_steps for n_steps, each in fixed.items() if max(each) <= 0.01), None)
    return {
        "auto": {
            "steps": {"median": float(steps.double().median()), "most": int(steps.max())},
            "largest_delta": float((delta.abs() / goal).max()),
            "warnings": len(missed),
        },
        "fixed": {
            n: {"largest_delta": max(each), "median_delta": statistics.median(each)} for n, each in fixed.items()
        },
        "smallest_fixed_number_for_all_pairs": enough,
        "maps_differ_from_100_steps_by": errors,
        "pairs": n_pairs,
    }


def precisions(pixels: int, rounds: int) -> dict[str, Any]:
    """Seconds, and the difference from float64, of the same maps."""
    exact = Population(pixels, dtype=torch.float64).ours()
    plain, last, mixed = (Population(pixels) for _ in range(3))
    last.similarity.to(memory_format=torch.channels_last)
    last.pair = tuple(x.contiguous(memory_format=torch.channels_last) for x in last.pair)

    def autocast() -> tuple[Tensor, ...]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return mixed.ours()

    half = Population(pixels, dtype=torch.bfloat16)
    calls: dict[str, Call] = {
        "float32": plain.ours,
        "float32, channels_last": last.ours,
        "bfloat16 autocast": autocast,
        "bfloat16": half.ours,
    }
    times = in_turns(calls, rounds + 1)
    return {
        name: {"seconds": times[name], "difference_from_float64": difference(call(), exact)}
        for name, call in calls.items()
    }


def measure_population(rounds: int, memory: Callable[..., float | None]) -> dict[str, Any]:
    return {
        "largest_difference_in_float64": check_answers(),
        "many_neurons": [many_neurons(224, 32, rounds), many_neurons(64, 2 * WIDTHS["layer4"], 1)],
        "peers_at_64_pixels": peers(64, rounds, memory),
        "automatic_steps": automatic_steps(24),
        "precisions_at_224_pixels": precisions(224, rounds),
        "scaling_s": scaling(rounds),
    }


def draw(report: dict[str, Any], path: Path) -> None:
    """Maps per second and memory of every way, and time over what grows."""
    mpl.use("agg")
    peers = report["peers_at_64_pixels"]
    figure, axes = plt.subplots(1, 5, figsize=(17, 3.4), layout="constrained", width_ratios=[1.6, 1, 1, 1, 1])
    axes[0].barh(list(peers), [each["maps_per_second"] for each in peers.values()], color="0.4", log=True)
    axes[0].set(xlabel="maps per second (ResNet-18, 64 px)")
    axes[0].invert_yaxis()
    for axis, (grows, times) in zip(axes[1:], report["scaling_s"].items(), strict=True):
        for name in next(iter(times.values())):
            axis.loglog([int(x) for x in times], [each[name] for each in times.values()], "o-", label=name)
        axis.set(xlabel=grows, ylabel="seconds")
        axis.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)
    plt.close(figure)
