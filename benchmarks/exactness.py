"""How far the maps are from their definition, in float64.

On a small CNN and on SqueezeNet at 64 px (with ``--weights`` its trained ones, otherwise random):

- the largest relative error of the gradient maps against the full Jacobian times h;
- the convergence delta of Integrated Gradients over the number of steps, as a share of Σ|h·(f(x) − f(x₀))|;
- the largest difference of Σh from the neuron-specific similarity, and of the maps of swapped images from swapped maps.

    python benchmarks/exactness.py --weights squeezenet1_0.safetensors --output exactness.json
"""

import argparse
import json
from pathlib import Path

import torch
from reporting import write_report
from torch import Tensor, nn
from tqdm import tqdm

from captum_shared import LatentFeatures, LinearReadout, NeuronSimilarity, ParallelSharedAttribution
from captum_shared.encoders import load_torchvision

STEPS = (25, 50, 100, 200, 400)


def small_cnn() -> nn.Module:
    layers = [nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 12, 3), nn.ReLU()]
    return nn.Sequential(nn.Sequential(*layers))


def full_jacobian_map(features: nn.Module, images: Tensor, weights: Tensor) -> Tensor:
    """J_f(x)ᵀ h the long way: the whole Jacobian of every image, row by row, times h."""
    maps = []
    for image, h in zip(images, weights, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda x: features(x[None])[0], image)
        maps.append(torch.tensordot(h, jacobian, 1))
    return torch.stack(maps)


def measure(model: nn.Module, layer: str) -> dict[str, object]:
    features = LatentFeatures(model.double().eval(), layer)
    pair = torch.rand(2, 3, 64, 64).double(), torch.rand(2, 3, 64, 64).double()
    n_features = features(pair[0]).shape[1]
    similarity = NeuronSimilarity(features, LinearReadout(torch.randn(4, n_features).double()))
    gradient = ParallelSharedAttribution(similarity)
    integrated = ParallelSharedAttribution(similarity, "integrated_gradients")
    h = similarity.shared_weights(*pair, target=[3, 1])
    maps, swapped = gradient.attribute(pair, [3, 1]), gradient.attribute(pair[::-1], [3, 1])
    oracle = [full_jacobian_map(features, images, h) for images in pair]
    changes = [h * (features(images) - features(torch.zeros_like(images))) for images in pair]
    scale = sum(change.abs().sum(1) for change in changes)
    deltas = {}
    for n_steps in tqdm(STEPS, leave=False):
        _, delta = integrated.attribute(
            pair, [3, 1], n_steps=n_steps, internal_batch_size=100, return_convergence_delta=True
        )
        deltas[str(n_steps)] = float((delta.abs() / scale).max())
    similarities = similarity(*pair)[torch.arange(2), torch.tensor([3, 1])]
    return {
        "gradient_relative_error": max(
            float((found - true).norm() / true.norm()) for found, true in zip(maps, oracle, strict=True)
        ),
        "integrated_gradients_delta_share": deltas,
        "sum_of_h_minus_similarity": float((h.sum(1) - similarities).abs().max()),
        "swap_difference": max(float((a - b).abs().max()) for a, b in zip(maps, swapped[::-1], strict=True)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="How far the maps are from their definition.")
    parser.add_argument("--weights", help="weights of torchvision's squeezenet1_0: a file, or DEFAULT")
    parser.add_argument("--output", type=Path, default=Path("exactness.json"))
    chosen = parser.parse_args()
    torch.manual_seed(0)
    squeezenet, _ = load_torchvision("squeezenet1_0", chosen.weights)
    report = {"small CNN": measure(small_cnn(), "0"), "squeezenet1_0": measure(squeezenet, "features")}
    write_report(chosen.output, {"networks": report, "seed": 0}, ("captum-shared", "captum", "torch", "torchvision"))
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
