"""How well methods recover what two images share, with a small vision transformer trained on the drawn world.

Trains a ViT of torchvision with a stem of convolutions (Xiao et al., Early Convolutions Help Transformers See Better,
NeurIPS 2021) to name the parts in a drawn image, which takes minutes on two cores, cuts it at several
depths, and scores methods on the task ``parts``. Weights and results are kept in the output folder, where an
interrupted run goes on.

    python benchmarks/transformer.py --output transformer --report benchmarks/results/transformer.json
"""

import argparse
import time
from pathlib import Path

import torch
from reporting import write_report
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.vision_transformer import ConvStemConfig, VisionTransformer

from captum_shared.encoders import LatentFeatures
from captum_shared.evaluation import CEILING, Extent, parts_task, run_benchmark, table
from captum_shared.methods import methods_by_name
from captum_shared.synthetic import CATEGORIES, PARTS, average_precisions, draw_stimuli, train

SIZES = {"image_size": 112, "patch_size": 16, "num_layers": 3, "num_heads": 4, "hidden_dim": 64, "mlp_dim": 128}
STEM = ((24, 5), (48, 3), (64, 3), (64, 3))  # channels and kernels of its convolutions, each of stride 2
LAYERS = ("encoder.layers.encoder_layer_0", "encoder.layers.encoder_layer_1", "encoder")
NAMES = ("recommended", "ours-correspondence", "paper", "grad-cam-product", "neuron-grad-cam")
SCORES = ("answer_largest", "mass", "pointing")
HELD_OUT = 2_000_000


class MeanOfTokens(VisionTransformer):
    """Reads the mean of the patches' tokens: of a class token alone, the last block does not train them."""

    def forward(self, images: Tensor) -> Tensor:
        patches = self._process_input(images)
        tokens = self.encoder(torch.cat([self.class_token.expand(len(patches), -1, -1), patches], 1))
        return self.heads(tokens[:, 1:].mean(1))


def vit() -> nn.Module:
    stem = [ConvStemConfig(channels, kernel, 2) for channels, kernel in STEM]
    return MeanOfTokens(**SIZES, num_classes=len(PARTS), conv_stem_configs=stem)


def trained(file: Path, *, images: int, epochs: int, seed: int) -> tuple[nn.Module, float]:
    """The network, and how many seconds the drawing of its images and its training took."""
    torch.manual_seed(seed)
    network = vit()
    if not file.exists():
        start = time.perf_counter()
        train(network, seed=seed, images=images, epochs=epochs, learning_rate=2e-3)
        save_file(network.state_dict(), file, {"seconds": f"{time.perf_counter() - start:.0f}"})
    with safe_open(file, framework="pt") as kept:
        network.load_state_dict({name: kept.get_tensor(name) for name in kept.keys()})  # noqa: SIM118
        seconds = float(kept.metadata()["seconds"])
    return network.eval(), seconds


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
    parser.add_argument("--epochs", type=int, default=16, help="passes over them")
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
            "network": {**SIZES, "stem": STEM},
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
