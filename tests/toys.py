"""Small networks with known answers, slow oracles and the real data, for all tests of the core."""

import copy
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from unittest import mock

import hypothesis
import pytest
import torch
import torchvision
from torch import Tensor, nn

from captum_shared import LatentFeatures, LinearReadout, NeuronSimilarity

DATA = Path(__file__).parents[2] / "shared" / "data"
SQUEEZENET = DATA / "squeezenet1_0_imagenet.safetensors"

Pair = tuple[Tensor, Tensor]

hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")
torch.set_num_threads(1)  # on inputs this small threads only wait for each other, ten times over on a busy machine


def real_data(name: str) -> Path:
    """A file or folder of the real data; the test is skipped where there is none."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"needs the real data: no {name} in the shared data folder beside the repository")
    return path


def stable_name(value: object) -> str:
    """A name of a parameter for its test, the same in every run: no addresses."""
    return re.sub(r"(at)?0x[0-9a-f]+", "", "".join(repr(value).split()))[:60]


def seeded(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def pair(seed: int = 0, n: int = 2, size: int = 10, channels: int = 3, dtype: torch.dtype = torch.float64) -> Pair:
    return (
        seeded(100 + seed, n, channels, size, size, dtype=dtype),
        seeded(200 + seed, n, channels, size, size, dtype=dtype),
    )


class Randomised:
    """Build a module with its weights from a seed, in float64, without touching the random state."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, build: Callable[[], nn.Module]) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return build().double()


class SmallNet(nn.Module):
    """Two convolutions, then a classifier that comes after any cut at ``features``."""

    def __init__(self, *, inplace: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(inplace=inplace), nn.Conv2d(4, 5, 3, stride=2), nn.ReLU(inplace=inplace)
        )
        self.classifier = nn.Linear(5, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).mean((2, 3)))


class Undecided(nn.Module):
    """What it does depends on the data, so that it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)
        self.second = nn.Conv2d(4, 4, 3)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.relu(self.first(images))
        if hidden.sum() > 1e9:
            hidden = hidden * 2
        return self.head(self.relu(self.second(hidden)).mean((2, 3)))


def small_net(seed: int = 0, *, inplace: bool = False) -> nn.Module:
    return Randomised(seed)(lambda: SmallNet(inplace=inplace))


def torchvision_net(name: str, seed: int = 0, **options: object) -> nn.Module:
    """A network of torchvision with random weights, in evaluation mode; its slowest initialiser is replaced."""

    def normal(tensor: Tensor, mean: float = 0.0, std: float = 1.0, *_: float, **__: float) -> Tensor:
        return nn.init.normal_(tensor, mean, std)

    if name in ("googlenet", "inception_v3"):
        options = {"init_weights": False, **options}
    with torch.random.fork_rng(devices=[]), mock.patch("torch.nn.init.trunc_normal_", normal):
        torch.manual_seed(seed)
        return torchvision.models.get_model(name, weights=None, **options).eval()


def readout(n_features: int, n_neurons: int = 4, *, centered: bool = True, seed: int = 0) -> LinearReadout:
    mean = 0.3 * seeded(seed + 11, n_features).abs() if centered else None
    return LinearReadout(seeded(seed + 10, n_neurons, n_features), feature_mean=mean)


def small_similarity(
    *, pool: str = "average", centered: bool = True, size: int = 10, seed: int = 0, n_neurons: int = 4
) -> NeuronSimilarity:
    features = LatentFeatures(small_net(seed), "features", pool=pool)
    n_features = features(torch.zeros(1, 3, size, size, dtype=torch.float64)).shape[1]
    return NeuronSimilarity(features, readout(n_features, n_neurons, centered=centered, seed=seed))


def squeezenet() -> nn.Module:
    """SqueezeNet in float64, with its real weights where they are."""
    if SQUEEZENET.exists():
        from captum_shared.encoders.checkpoints import load_torchvision

        return load_torchvision("squeezenet1_0", SQUEEZENET)[0].double()
    return torchvision_net("squeezenet1_0").double()


def hand_weights(image: Tensor, reference: Tensor, weight: Tensor, mean: Tensor) -> Tensor:
    """The shared weights h of one pair from features (feature,), as the equation has them."""
    v, r = image - mean, reference - mean
    norms = (weight * v).norm() * (weight * r).norm()
    return weight**2 * v * r / norms if norms > 0 else torch.zeros_like(v)


def jacobian_maps(encoder: nn.Module, readout: LinearReadout, pair: Pair, neurons: Iterable[int]) -> Pair:
    """Both maps pair by pair from the full Jacobians of an encoder of one image."""
    maps: tuple[list[Tensor], list[Tensor]] = ([], [])
    for image, reference, neuron in zip(*pair, neurons, strict=True):
        features = [encoder(x[None])[0].detach() for x in (image, reference)]
        h = hand_weights(*features, readout.weight[neuron], readout.feature_mean)
        for x, found in zip((image, reference), maps, strict=True):
            jacobian = torch.autograd.functional.jacobian(lambda one: encoder(one[None])[0], x)
            found.append(torch.einsum("f,fchw->chw", h, jacobian))
    return torch.stack(maps[0]), torch.stack(maps[1])


def untied(similarity: NeuronSimilarity) -> NeuronSimilarity:
    """The same with the twins made independent: two encoders that share no module and no weight."""
    apart = copy.deepcopy(similarity)
    apart.reference_features = copy.deepcopy(copy.deepcopy(similarity.reference_features))
    return apart


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).norm() / expected.norm()).detach())


def hooks(*modules: nn.Module) -> list[tuple[int, ...]]:
    """Number of hooks of each kind on each module of the trees."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return [tuple(len(getattr(part, kind)) for kind in kinds) for module in modules for part in module.modules()]
