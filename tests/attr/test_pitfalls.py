"""What plausible input once made silently wrong."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import weight_norm
from toys import seeded, small_net

from captum_shared import (
    LatentFeatures,
    LayerSharedAttribution,
    LinearReadout,
    NeuronSimilarity,
    ParallelSharedAttribution,
    ReferenceBank,
)
from captum_shared.attr._captum import select_neurons
from captum_shared.attr.pairs import checked_pair
from captum_shared.figures import Panel, pair_figure

pytestmark = pytest.mark.usefixtures("as_installed")


def flat_encoder() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5))


def similarity_of(encoder: nn.Module, n_features: int = 5) -> NeuronSimilarity:
    return NeuronSimilarity(encoder, LinearReadout(torch.rand(2, n_features) + 0.1))


def test_a_bank_refuses_nan_in_images_and_in_queries() -> None:
    similarity = similarity_of(flat_encoder())
    images = torch.rand(6, 3, 2, 2)
    bank = ReferenceBank(similarity, images)
    damaged = images.clone()
    damaged[3, 0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        ReferenceBank(similarity, damaged)
    with pytest.raises(ValueError, match="not finite"):
        bank.search(damaged, target=0)


def test_a_bank_takes_arrays_and_does_not_depend_on_its_batches() -> None:
    encoder = flat_encoder()  # in training mode: batch statistics would depend on the batch
    similarity, images = similarity_of(encoder), torch.rand(9, 3, 2, 2)
    banks = [ReferenceBank(similarity, images, responses=np.ones((9, 2)), batch_size=size) for size in (2, 64)]
    small, large = (bank.search(images.flip(0), target=1, top_k=2) for bank in banks)
    assert torch.equal(small.indices, large.indices)
    torch.testing.assert_close(small.similarities, large.similarities)
    assert float(encoder[2].running_mean.abs().sum()) == 0


@pytest.mark.parametrize("jacobian", ["gradient", "integrated_gradients"])
def test_attribution_leaves_an_encoder_in_training_mode_as_it_is(jacobian: str) -> None:
    encoder = flat_encoder()
    pair = torch.rand(4, 3, 2, 2), torch.rand(4, 3, 2, 2)
    ParallelSharedAttribution(similarity_of(encoder), jacobian).attribute(pair, target=0)
    assert encoder.training
    assert encoder[2].training
    assert int(encoder[2].num_batches_tracked) == 0


def test_a_delta_computed_afterwards_is_that_of_evaluation_and_leaves_training_mode_as_it_is() -> None:
    encoder = flat_encoder()
    method = ParallelSharedAttribution(similarity_of(encoder), "integrated_gradients")
    pair = torch.rand(4, 3, 2, 2), torch.rand(4, 3, 2, 2)
    maps, delta = method.attribute(pair, target=0, return_convergence_delta=True)
    torch.testing.assert_close(method.compute_convergence_delta(maps, None, pair, target=0), delta)
    assert encoder[2].training
    assert int(encoder[2].num_batches_tracked) == 0


def test_twins_stay_tied_whatever_happens_to_the_encoder() -> None:
    encoder, images = flat_encoder().eval(), torch.rand(3, 3, 2, 2)
    similarity = similarity_of(encoder)
    fresh = flat_encoder().state_dict()
    encoder.load_state_dict(fresh, assign=True)
    torch.testing.assert_close(similarity(images, images), torch.ones(3, 2))
    encoder.double()
    torch.testing.assert_close(similarity(images.double(), images.double()), torch.ones(3, 2, dtype=torch.float64))
    encoder[2] = nn.Identity()
    with pytest.raises(ValueError, match="Build the NeuronSimilarity anew"):
        similarity(images.double(), images.double())


def test_twins_of_weight_norm() -> None:
    with pytest.warns(FutureWarning):
        layer = weight_norm(nn.Linear(12, 5))
    similarity, images = similarity_of(nn.Sequential(nn.Flatten(), layer)), torch.rand(3, 3, 2, 2)
    torch.testing.assert_close(similarity(images, images).detach(), torch.ones(3, 2))


class LooksAtItsInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(x, Tensor):
            x = x * 2
        return self.body(x)


def test_a_trace_that_computes_something_else_is_refused() -> None:
    features = LatentFeatures(LooksAtItsInput(), "body")
    with pytest.raises(ValueError, match="does not compute what the model itself computes"):
        features(torch.rand(2, 3, 8, 8))


class Untraceable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)

    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 1e9:
            raise ValueError
        y = self.first(x)
        y += 1
        return self.second(y)


def test_the_first_pass_of_an_untraceable_network_is_like_the_others() -> None:
    features, images = LatentFeatures(Untraceable(), "first"), torch.rand(2, 3, 8, 8)
    assert torch.equal(features(images), features(images))


def test_the_callers_hooks_are_not_called() -> None:
    model, seen = small_net(), []
    model.register_forward_hook(lambda *_: seen.append("model"))
    model.features.register_forward_hook(lambda *_: seen.append("layer"))
    LatentFeatures(model, "features")(seeded(0, 1, 3, 8, 8))
    assert seen == []


class NoClassToken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cls_token: nn.Parameter | None = None
        self.tokens = nn.Conv2d(3, 4, 4, stride=4)
        self.norm = nn.LayerNorm(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.tokens(x).flatten(2).transpose(1, 2))


class ClassToken(NoClassToken):
    def __init__(self) -> None:
        super().__init__()
        del self.cls_token
        self.cls_token = nn.Parameter(torch.randn(1, 1, 4))

    def forward(self, x: Tensor) -> Tensor:
        patches = self.tokens(x).flatten(2).transpose(1, 2)
        return self.norm(torch.cat([self.cls_token.expand(x.shape[0], -1, -1), patches], 1))


@pytest.mark.parametrize(("model", "n_tokens"), [(NoClassToken(), 0), (nn.Sequential(nn.Identity(), ClassToken()), 1)])
def test_class_tokens_are_counted_where_they_are(model: nn.Module, n_tokens: int) -> None:
    images = torch.rand(2, 3, 8, 8)
    features = LatentFeatures(model, "norm" if n_tokens == 0 else "1.norm")
    torch.testing.assert_close(features(images), model(images)[:, n_tokens:].mean(1))


def test_one_image_without_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"use image\[None\]"):
        LatentFeatures(small_net(), "features")(seeded(0, 3, 8, 8))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_scale_of_the_readout_has_no_effect_in_half_precision(dtype: torch.dtype) -> None:
    images, references = torch.rand(2, 3, 2, 2).to(dtype), torch.rand(2, 3, 2, 2).to(dtype)
    weight = torch.rand(1, 12)
    small, large = (NeuronSimilarity(nn.Flatten(), LinearReadout(scale * weight)) for scale in (1.0, 1e6))
    torch.testing.assert_close(large(images, references), small(images, references))
    torch.testing.assert_close(large.shared_weights(images, references), small.shared_weights(images, references))


def test_a_target_on_another_device_is_looked_up_there() -> None:
    assert select_neurons(2, 4, torch.tensor([1, 3], device="meta")).device.type == "meta"


def test_a_readout_follows_the_features_to_their_device() -> None:
    assert LinearReadout.uniform(3)(torch.zeros(2, 3, device="meta")).device.type == "meta"


def test_layer_maps_have_no_convergence_delta() -> None:
    method = LayerSharedAttribution(NeuronSimilarity(LatentFeatures(small_net(), "features"), LinearReadout.uniform(4)))
    assert not method.has_convergence_delta()
    with pytest.raises(NotImplementedError, match="no convergence delta"):
        method.compute_convergence_delta(None, None, None)


def test_figures_take_tensors_as_they_come() -> None:
    image = torch.rand(3, 8, 8, requires_grad=True)
    panel = Panel("image", image, {"map": torch.rand(8, 8).bfloat16()})
    assert len(pair_figure(panel, panel).axes) == 5


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: NeuronSimilarity(lambda x: x, LinearReadout.uniform(2)), r"must be a torch\.nn\.Module"),
        (lambda: LatentFeatures("resnet18", "layer1"), "must be an ordinary"),
        (lambda: LatentFeatures(torch.jit.trace(nn.ReLU(), torch.ones(1)), "0"), "must be an ordinary"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_what_is_no_module_is_told(build: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        build()  # type: ignore[operator]


def test_an_encoder_that_gives_no_tensor_is_told() -> None:
    class Mapping(nn.Module):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"pooled": x.flatten(1)}

    with pytest.raises(TypeError, match="but gave a dict"):
        NeuronSimilarity(Mapping(), LinearReadout.uniform(2))(torch.rand(1, 2), torch.rand(1, 2))


def test_finite_pixels_whose_sum_overflows_are_finite() -> None:
    images = torch.full((1, 3, 2, 2), 2e38)
    checked, _ = checked_pair((images, images))
    assert torch.equal(checked.detach(), images)
    for wrong in (torch.nan, torch.inf):
        with pytest.raises(ValueError, match="must be finite"):
            checked_pair((images, torch.full((1, 3, 2, 2), wrong)))


@pytest.mark.parametrize("dtypes", [(torch.float32, torch.float64), (torch.float64, torch.float32)])
def test_each_map_has_the_precision_of_its_image(dtypes: tuple[torch.dtype, torch.dtype]) -> None:
    similarity = NeuronSimilarity(nn.Flatten(), LinearReadout(torch.rand(2, 12) + 0.1))
    pair = torch.rand(2, 3, 2, 2, dtype=dtypes[0]), torch.rand(2, 3, 2, 2, dtype=dtypes[1])
    maps = ParallelSharedAttribution(similarity).attribute(pair, target=1)
    assert (maps[0].dtype, maps[1].dtype) == dtypes


def test_an_argument_equal_to_its_default_is_none_that_gradients_would_refuse() -> None:
    similarity = NeuronSimilarity(nn.Flatten(), LinearReadout(torch.rand(1, 12) + 0.1))
    pair = torch.rand(1, 3, 2, 2), torch.rand(1, 3, 2, 2)
    method = ParallelSharedAttribution(similarity)
    same = method.attribute(pair, 0, method="".join(["gauss", "legendre"]))
    torch.testing.assert_close(same, method.attribute(pair, 0))
    with pytest.raises(TypeError, match="Plain gradients take no method"):
        method.attribute(pair, 0, method="riemann_left")
