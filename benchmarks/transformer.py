"""How well methods recover what two images share, with a small vision transformer trained on the drawn world.

Trains a ViT of torchvision to name the parts in a drawn image, which takes minutes on two cores, cuts it at several
depths, and scores methods on the task ``parts``. Weights and results are kept in the output folder, where an
interrupted run goes on.

    python benchmarks/transformer.py --output transformer --report benchmarks/results/transformer.json
"""

import argparse
import time
from pathlib import Path

import torch
import torchvision
from reporting import write_report
from safetensors.torch import load_file, save_file
from torch import nn

from captum_shared.encoders import LatentFeatures
from captum_shared.evaluation import CEILING, Extent, parts_task, run_benchmark, table
from captum_shared.methods import methods_by_name
from captum_shared.synthetic import CATEGORIES, PARTS, average_precisions, draw_stimuli, train

SIZES = {"image_size": 112, "patch_size": 14, "num_layers": 3, "num_heads": 4, "hidden_dim": 64, "mlp_dim": 128}
LAYERS = ("encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1", "encoder")
NAMES = ("recommended", "ours-correspondence", "paper", "grad-cam-product", "neuron-grad-cam")
SCORES = ("answer_largest", "mass", "pointing")
HELD_OUT = 2_000_000


def vit() -> nn.Module:
    return torchvision.models.VisionTransformer(**SIZES, num_classes=len(PARTS))


def trained(file: Path, *, images: int, epochs: int, seed: int) -> tuple[nn.Module, float]:
    """The network, and how many seconds its training took; 0 if it was kept."""
    torch.manual_seed(seed)
    network = vit()
    if file.exists():
        network.load_state_dict(load_file(file))
        return network.eval(), 0.0
    start = time.perf_counter()
    train(network, seed=seed, images=images, epochs=epochs, learning_rate=1e-3)
    save_file(network.state_dict(), file)
    return network, time.perf_counter() - start


def scored(network: nn.Module, layer: str, options: argparse.Namespace) -> dict[str, object]:
    """The table of ``parts`` at a layer."""
    task = parts_task(LatentFeatures(network, layer), seed=options.seed, progress=True)
    output = options.output / layer
    compared = [*methods_by_name(NAMES), CEILING]
    result = run_benchmark(task, compared, extent=Extent(options.pairs), output=output, resume=output.exists())
    print(f"\n{layer}\n{table(result)}", flush=True)
    return {each["name"]: {name: each["scores"][name] for name in SCORES} for each in result["methods"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("transformer"))
    parser.add_argument("--report", type=Path, help="file of the report")
    parser.add_argument("--images", type=int, default=6000, help="drawn images to train on")
    parser.add_argument("--epochs", type=int, default=40, help="passes over them")
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    network, seconds = trained(
        options.output / "vit.safetensors", images=options.images, epochs=options.epochs, seed=options.seed
    )
    fresh = [stimulus for name in CATEGORIES for stimulus in draw_stimuli(name, 500, seed=HELD_OUT + options.seed)]
    precisions = average_precisions(network, fresh)
    mean = sum(precisions.values()) / len(precisions)
    print(f"mean average precision of the parts in 1000 fresh images: {mean:.3f}; training took {seconds:.0f} s")
    layers = {layer: scored(network, layer, options) for layer in LAYERS}
    if options.report is not None:
        report = {
            "network": SIZES,
            "images": options.images,
            "epochs": options.epochs,
            "pairs": options.pairs,
            "seed": options.seed,
            "mean_average_precision": round(mean, 4),
            "training_seconds": round(seconds),
            "layers": layers,
        }
        write_report(options.report, report, ("captum-shared", "captum", "torch", "torchvision", "scikit-learn"))


if __name__ == "__main__":
    main()
