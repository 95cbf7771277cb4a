"""Captum's methods under the common call, against Captum itself on networks written without the package."""

import math
from collections.abc import Callable

import pytest
import torch
from captum.attr import (
    DeepLift,
    GradientShap,
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    Occlusion,
    Saliency,
)
from PIL import Image
from torch import Tensor, nn
from toys import Pair, pair, seeded, small_net, small_similarity

from captum_shared import LatentFeatures, LinearReadout
from captum_shared.encoders.photographs import mid_grey
from captum_shared.methods.registry import METHODS
from captum_shared.methods.sampling import N_SAMPLES, drawn_for, noise_levels

pytestmark = pytest.mark.filterwarnings("ignore:Setting .*hooks:UserWarning", "ignore:Input Tensor:UserWarning")


class Response(nn.Module):
    """The neurons' responses to one image."""

    def __init__(self, readout: LinearReadout) -> None:
        super().__init__()
        self.body, self.pool = small_net().features, nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(readout.n_features, readout.n_neurons).double()
        self.head.weight.data, self.head.bias.data = readout.weight, readout.bias

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.pool(self.body(image)).flatten(1))


class Cosines(nn.Module):
    """The similarity of a pair for each neuron, by two networks that share nothing."""

    def __init__(self, readout: LinearReadout) -> None:
        super().__init__()
        self.first, self.second, self.pool = small_net().features, small_net().features, nn.AdaptiveAvgPool2d(1)
        self.weight, self.mean = readout.weight, readout.feature_mean

    def forward(self, image: Tensor, reference: Tensor) -> Tensor:
        v, r = (
            self.weight * (self.pool(body(x)).flatten(1) - self.mean)[:, None]
            for body, x in ((self.first, image), (self.second, reference))
        )
        return torch.cosine_similarity(v, r, dim=-1)


def tupled(maps: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (maps,) if isinstance(maps, Tensor) else maps


def shap(model: nn.Module, inputs: tuple[Tensor, ...], _: object, target: list[int]) -> tuple[Tensor, ...]:
    maps = []
    for row, neuron in enumerate(target):
        example = tuple(x[row : row + 1] for x in inputs)
        stdevs = tuple(0.1 * (x.max() - x.min()).item() for x in example)
        with drawn_for(*example, numpy=True):
            grey = tuple(torch.full_like(x, 0.5) for x in example)
            maps.append(GradientShap(model).attribute(example, grey, n_samples=N_SAMPLES, stdevs=stdevs, target=neuron))
    return tuple(torch.cat(each) for each in zip(*maps, strict=True))


def hide(model: nn.Module, inputs: tuple[Tensor, ...], _: object, target: list[int]) -> tuple[Tensor, ...]:
    windows = ((3, 2, 2),) * len(inputs)  # an eighth of ten pixels, rounded up
    greys = (0.5,) * len(inputs)
    return Occlusion(model).attribute(inputs, windows, strides=windows, baselines=greys, target=target)


CAPTUM: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "saliency": lambda model, x, cuts, k: Saliency(model).attribute(x, k, abs=False),
    "input-x-gradient": lambda model, x, cuts, k: InputXGradient(model).attribute(x, k),
    "integrated-gradients": lambda model, x, cuts, k: IntegratedGradients(model).attribute(
        x, tuple(torch.full_like(each, 0.5) for each in x), k, n_steps=N_SAMPLES
    ),
    "grad-cam": lambda model, x, cuts, k: tuple(LayerGradCam(model, cut).attribute(x, k) for cut in cuts),
    "guided-grad-cam": lambda model, x, cuts, k: tuple(
        tupled(GuidedGradCam(model, cut).attribute(x, k))[side] for side, cut in enumerate(cuts)
    ),
    "deeplift": lambda model, x, cuts, k: DeepLift(model).attribute(
        x, tuple(torch.full_like(each, 0.5) for each in x), k
    ),
    "gradient-shap": shap,
    "occlusion": hide,
}


def assert_same(found: Pair, expected: tuple[Tensor, ...], name: str) -> None:
    tolerance = 1e-5 if "occlusion" in name else 1e-10  # Captum's Occlusion gives float32
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float64
        largest = other.abs().flatten(1).amax(1)
        assert (largest > 0).all()
        torch.testing.assert_close(
            one / largest[:, None, None, None],
            (other / largest[:, None, None, None]).double().detach(),
            rtol=0,
            atol=tolerance,
        )


@pytest.mark.parametrize("target", [[1, 1], [3, 0]])
@pytest.mark.parametrize("name", CAPTUM)
def test_of_the_neuron_it_is_what_captum_gives_for_each_image_alone(name: str, target: list[int]) -> None:
    similarity = small_similarity()
    similarity.readout.bias += 0.7
    found = METHODS[f"neuron-{name}"].attribute(similarity, pair(), target)
    expected = []
    for image in pair():
        model = Response(similarity.readout)
        expected += CAPTUM[name](model, (image.requires_grad_(),), (model.body,), target)
    assert_same(found, tuple(expected), name)


@pytest.mark.parametrize("target", [[1, 1], [3, 0]])
@pytest.mark.parametrize("name", CAPTUM)
def test_of_the_similarity_it_is_what_captum_gives_for_two_networks(name: str, target: list[int]) -> None:
    similarity, inputs = small_similarity(), tuple(x.requires_grad_() for x in pair())
    model = Cosines(similarity.readout)
    found = METHODS[f"similarity-{name}"].attribute(similarity, inputs, target)
    assert_same(found, CAPTUM[name](model, inputs, (model.first, model.second), target), name)


@pytest.mark.parametrize("name", ["saliency", "integrated-gradients", "grad-cam"])
def test_of_the_cosine_no_neuron_has_a_part(name: str) -> None:
    similarity, inputs = small_similarity(), tuple(x.requires_grad_() for x in pair())
    model = Cosines(LinearReadout(torch.ones(1, 5, dtype=torch.float64)))
    found = METHODS[f"cosine-{name}"].attribute(similarity, inputs, 3)
    assert_same(found, CAPTUM[name](model, inputs, (model.first, model.second), [0, 0]), name)


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.family == "neuron"])
def test_methods_of_the_neuron_do_not_see_the_other_image(name: str) -> None:
    similarity = small_similarity()
    images, references = pair()
    others = seeded(9, 2, 3, 10, 10)
    found = METHODS[name].attribute(similarity, (images, references), 1)
    assert torch.equal(METHODS[name].attribute(similarity, (images, others), 1)[0], found[0])
    assert torch.equal(METHODS[name].attribute(similarity, (others, references), 1)[1], found[1])


@pytest.mark.parametrize(("name", "passes"), [("grad-cam", 1), ("guided-grad-cam", 2), ("saliency", 1)])
@pytest.mark.parametrize("of", ["neuron", "similarity"])
def test_each_image_passes_the_network_no_more_often_than_the_method_needs(of: str, name: str, passes: int) -> None:
    similarity, seen = small_similarity(), []
    similarity(*pair())
    for twin in (similarity.image_features, similarity.reference_features):
        twin.network.register_forward_pre_hook(lambda network, inputs: seen.append(len(inputs[0])))
    METHODS[f"{of}-{name}"].attribute(similarity, pair(), 1)
    assert seen == [2, 2] * passes


def test_captums_guided_grad_cam_of_a_pair_puts_one_map_on_both_images() -> None:
    """Which is why ours takes the Grad-CAM of each twin."""
    similarity, inputs = small_similarity(), tuple(x.requires_grad_() for x in pair())
    by_captum = GuidedGradCam(similarity, similarity.image_features.cut).attribute(inputs, 1)
    found = METHODS["similarity-guided-grad-cam"].attribute(similarity, inputs, 1)
    torch.testing.assert_close(found[0], by_captum[0].detach())
    own_cam = LayerGradCam(similarity, similarity.reference_features.cut).attribute(inputs, 1, relu_attributions=True)
    assert torch.equal(found[1] != 0, (nn.functional.interpolate(own_cam, (10, 10)) > 0) & (found[1] != 0))
    assert not torch.allclose(found[1], by_captum[1].detach())


# Where paths start, and noise ---------------------------------------------------------------------------------------


def test_grey_is_a_half_where_no_preprocessing_is_known() -> None:
    images = pair()[0]
    assert torch.equal(mid_grey(small_similarity().image_features, images), torch.full_like(images, 0.5))


def test_grey_is_what_the_preprocessing_makes_of_a_grey_photograph() -> None:
    features = LatentFeatures(small_net(), "features")
    colour = torch.tensor([0.1, 0.2, 0.3])

    def preprocess(photograph: Image.Image) -> Tensor:
        assert photograph.getpixel((0, 0)) == (128, 128, 128)
        return (torch.full((3, 7, 9), 128 / 255) - 0.5) / 0.25 + colour[:, None, None]

    features.preprocess = preprocess
    found = mid_grey(features, pair()[0])
    expected = ((128 / 255 - 0.5) / 0.25 + colour).double()[:, None, None].expand(2, 3, 10, 10)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=0)


def test_noise_is_a_tenth_of_the_range_of_each_image() -> None:
    images = torch.tensor([[-1.0, 4.0]]), torch.tensor([[2.0, 2.0]])
    assert noise_levels(images) == (0.5, 0.0)


def test_noise_depends_on_the_images_alone() -> None:
    first, second = pair()

    def draw(*images: Tensor) -> tuple[float, float]:
        with drawn_for(*images):
            return torch.rand(1).item(), math.fsum(torch.rand(2).tolist())

    torch.manual_seed(1)
    once = draw(first, second)
    torch.manual_seed(2)
    assert draw(first, second) == once
    assert len({once, draw(second, first), draw(first), draw(first + 1e-9, second)}) == 4
