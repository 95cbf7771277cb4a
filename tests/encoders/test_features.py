import copy
import pickle
from collections.abc import Callable

import pytest
import torch
import torchvision
from captum.attr import DeepLift, GuidedBackprop
from torch import Tensor, nn
from torch.nn import functional
from toys import Randomised, Undecided, hooks, pair, relative_error, seeded, small_net, small_similarity
from toys import torchvision_net as random_net

from captum_shared import LatentFeatures, ParallelSharedAttribution

NETS = [
    ("squeezenet1_0", {}, 64, ("features.5", "features")),
    ("resnet18", {}, 64, ("layer1.0.conv2", "layer2", "layer3.0.relu")),
    ("vgg11", {}, 32, ("features.7", "features")),
    ("densenet121", {}, 64, ("features.denseblock1", "features")),
    ("mobilenet_v3_small", {}, 64, ("features.3", "features")),
    ("efficientnet_b0", {}, 64, ("features.2", "features.4.0")),
    ("googlenet", {}, 64, ("inception3b", "inception4a.branch2")),
    ("inception_v3", {}, 96, ("Mixed_5b", "Mixed_6a")),
    ("convnext_tiny", {}, 64, ("features.1.0", "features.3")),
    ("vit_b_32", {"image_size": 64}, 64, ("encoder.layers.encoder_layer_1", "encoder.ln")),
    ("swin_t", {}, 64, ("features.1.0", "permute")),
    ("shufflenet_v2_x0_5", {}, 64, ("stage2.0", "conv5")),
    ("regnet_y_400mf", {}, 64, ("stem", "trunk_output.block2")),
]


def hooked(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    """The output of a layer of the model as it is: its last call, before anything overwrites it."""
    outputs = []
    handle = model.get_submodule(layer).register_forward_hook(lambda *call: outputs.append(call[2].clone()))
    model(images)
    handle.remove()
    return outputs[-1]


def on_the_way(model: nn.Module, layer: str, images: Tensor) -> set[str]:
    """Names of the parameters that the output of a layer depends on."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    total = hooked(model, layer, images).sum()
    gradients = torch.autograd.grad(total, parameters, allow_unused=True)
    return {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None}


@pytest.mark.parametrize(("name", "options", "size", "layers"), NETS, ids=[net[0] for net in NETS])
def test_equals_a_hook_on_the_original_and_runs_nothing_after_the_cut(
    name: str, options: dict[str, int], size: int, layers: tuple[str, ...]
) -> None:
    model = random_net(name, **options).double()
    images = seeded(1, 1, 3, size, size)
    for layer in layers:
        features = LatentFeatures(model, layer, pool="none")
        expected = hooked(model, layer, images).flatten(1).detach()
        torch.testing.assert_close(features(images), expected)
        kept = {parameter.data_ptr() for parameter in features.network.parameters()}
        needed = on_the_way(model, layer, images)
        assert {key for key, value in model.named_parameters() if value.data_ptr() in kept} == needed
    assert needed != {key for key, _ in model.named_parameters()}
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if key not in needed:
                parameter.fill_(torch.nan)
    torch.testing.assert_close(features(images), expected)


def test_layers_after_the_cut_are_not_even_called() -> None:
    features = LatentFeatures(small_net(), "features.1")
    assert [type(part) for part in features.network.modules() if not list(part.children())] == [nn.Conv2d, nn.ReLU]


def test_a_model_that_cannot_be_traced_is_stopped_at_the_layer() -> None:
    model = Randomised(0)(Undecided)
    images = pair()[0]
    expected = hooked(model, "second", images).mean((2, 3))
    with torch.no_grad():
        model.head.weight.fill_(torch.nan)
    features = LatentFeatures(model, "second")
    assert torch.equal(features(images), expected)
    features.network.model.head.register_forward_hook(lambda *_: pytest.fail("ran a layer after the cut"))
    assert torch.equal(features(images), expected)


def test_of_several_calls_the_last_counts_also_where_the_model_cannot_be_traced() -> None:
    model = Randomised(0)(Undecided)
    expected = hooked(model, "relu", pair()[0]).mean((2, 3))
    torch.testing.assert_close(LatentFeatures(model, "relu")(pair()[0]), expected)


class Statement(nn.Module):
    """Something in place between two layers, told by the test."""

    def __init__(self, middle: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.middle = middle
        self.last = nn.Sigmoid()
        self.head = nn.Linear(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.last(self.middle(self, self.first(images))).mean((2, 3)))


def _used(model: nn.Module, x: Tensor) -> Tensor:
    return model.second(functional.relu(x, inplace=True))


def _module(model: nn.Module, x: Tensor) -> Tensor:
    return model.second(model.relu(x))


def _method(model: nn.Module, x: Tensor) -> Tensor:
    return model.second(x.relu_())


def _add(model: nn.Module, x: Tensor) -> Tensor:
    x += model.second(x)
    x *= 2
    return x


def _statement(model: nn.Module, x: Tensor) -> Tensor:
    functional.relu(x, inplace=True)
    return model.second(x)


def _module_statement(model: nn.Module, x: Tensor) -> Tensor:
    model.relu(x)
    return model.second(x)


def _method_statement(model: nn.Module, x: Tensor) -> Tensor:
    x.clamp_(min=0).add_(1)
    return model.second(x)


def _second_use(model: nn.Module, x: Tensor) -> Tensor:
    return model.second(model.relu(x)) + x


def _alias(model: nn.Module, x: Tensor) -> Tensor:
    same = x
    x += 1
    return model.second(x) + same


def _item(model: nn.Module, x: Tensor) -> Tensor:
    x[:, 0] = 0
    return model.second(x)


@pytest.mark.parametrize(
    "middle",
    [_used, _module, _method, _add, _statement, _module_statement, _method_statement, _second_use, _alias, _item],
)
def test_in_place_operations_keep_their_meaning(middle: Callable[[nn.Module, Tensor], Tensor]) -> None:
    model = Randomised(0)(lambda: Statement(middle))
    features = LatentFeatures(model, "last", pool="none")
    torch.testing.assert_close(features(pair()[0]), hooked(model, "last", pair()[0]).flatten(1))


class OtherReLUs(nn.Module):
    """The small network with the ReLUs that Captum's hooks do not see, or see twice."""

    def __init__(self, model: nn.Module, relu: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.second = model.features[0], model.features[2]
        self.relu = relu
        self.end = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.end(self.relu(self.second(self.relu(self.first(images)))))


RELUS = {
    "module twice": nn.ReLU(inplace=True),
    "F.relu": functional.relu,
    "F.relu in place": lambda x: functional.relu(x, inplace=True),
    "F.relu by name": lambda x: functional.relu(input=x),
    "torch.relu": torch.relu,
    "torch.relu_": torch.relu_,
    "method": lambda x: x.relu(),
    "method in place": lambda x: x.relu_(),
}


class Head(nn.Module):
    def __init__(self, encoder: nn.Module, n_features: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.weight = nn.Parameter(seeded(5, n_features), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images) @ self.weight


class Average(nn.Module):
    def forward(self, activation: Tensor) -> Tensor:
        return activation.mean((2, 3))


@pytest.mark.filterwarnings("ignore:Setting")
@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS)
@pytest.mark.parametrize("method", [DeepLift, GuidedBackprop])
def test_hook_based_methods_see_functional_and_reused_relus(method: type, relu: Callable[[Tensor], Tensor]) -> None:
    net = small_net()
    plain = Head(nn.Sequential(copy.deepcopy(net.features), Average()), 5)
    found = Head(LatentFeatures(OtherReLUs(net, relu), "end"), 5)
    images = pair()[0].requires_grad_()
    torch.testing.assert_close(method(found).attribute(images), method(plain).attribute(images))


@pytest.mark.filterwarnings("ignore:Setting")
def test_deep_lift_is_complete_where_pooling_follows_a_relu_directly() -> None:
    layers = lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 5, 3))  # noqa: E731
    net = Head(LatentFeatures(Randomised(0)(layers), "3"), 5)
    images, baselines = pair()
    maps = DeepLift(net).attribute(images.requires_grad_(), baselines)
    torch.testing.assert_close(maps.sum((1, 2, 3)), net(images) - net(baselines))


class Unshared(nn.Module):
    """A basic block of ResNet with two ReLUs of its own instead of one used twice."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        b = self.block
        hidden = b.bn2(b.conv2(self.relu1(b.bn1(b.conv1(x)))))
        return self.relu2(hidden + (x if b.downsample is None else b.downsample(x)))


@pytest.mark.filterwarnings("ignore:Setting")
@pytest.mark.parametrize("method", [DeepLift, GuidedBackprop])
def test_hook_based_methods_on_resnet_equal_those_on_a_resnet_without_reused_relus(method: type) -> None:
    model = random_net("resnet18").double()
    model.maxpool = nn.Identity()  # Captum's DeepLift is wrong where pooling follows a ReLU directly
    found = Head(LatentFeatures(model, "layer2"), 128)
    own = copy.deepcopy(model)
    stem = (own.conv1, own.bn1, nn.ReLU())
    hand_written = nn.Sequential(*stem, *(Unshared(block) for block in (*own.layer1, *own.layer2)), Average())
    images = pair(n=1, size=24)[0].requires_grad_()
    expected = method(Head(hand_written, 128)).attribute(images)
    assert relative_error(method(found).attribute(images), expected) < 1e-10


def test_every_call_of_a_reused_relu_has_a_module_of_its_own() -> None:
    features = LatentFeatures(random_net("resnet18"), "layer1.0")
    calls: list[nn.Module] = []
    for part in features.network.modules():
        part.register_forward_hook(lambda module, *_: calls.append(module))
    features(torch.zeros(1, 3, 32, 32))
    relus = [module for module in calls if isinstance(module, nn.ReLU)]
    assert len(relus) == len(set(relus)) == 3


@pytest.mark.parametrize("pool", ["average", "max", "none"])
def test_pools_summarise_positions(pool: str) -> None:
    model = small_net()
    activation = model.features(pair()[0])
    images, channels = activation.shape[:2]
    expected = torch.empty(images, channels, dtype=torch.float64)
    for image in range(images):
        for channel in range(channels):
            values = activation[image, channel].flatten().tolist()
            expected[image, channel] = max(values) if pool == "max" else sum(values) / len(values)
    found = LatentFeatures(model, "features", pool=pool)(pair()[0])
    torch.testing.assert_close(found, activation.flatten(1) if pool == "none" else expected)


@pytest.fixture
def vit() -> nn.Module:
    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    return Randomised(0)(lambda: torchvision.models.VisionTransformer(**sizes)).eval()


@pytest.mark.parametrize("pool", ["average", "max", "none", "class_token"])
def test_the_class_token_is_apart_from_the_positions(vit: nn.Module, pool: str) -> None:
    with torch.no_grad():
        vit.class_token.fill_(7)
    images = seeded(1, 2, 3, 32, 32)
    tokens = hooked(vit, "encoder.ln", images)
    expected = {
        "average": tokens[:, 1:].mean(1),
        "max": tokens[:, 1:].amax(1),
        "none": tokens.flatten(1),
        "class_token": tokens[:, 0],
    }
    features = LatentFeatures(vit, "encoder.ln", pool=pool)
    torch.testing.assert_close(features(images), expected[pool])
    assert features.feature_shape == ((17, 16) if pool == "none" else (16,))


def test_a_class_token_is_asked_of_a_model_that_has_one() -> None:
    with pytest.raises(ValueError, match=r"class token.*gives shape \(2, 5, 3, 3\).*pool='average'"):
        LatentFeatures(small_net(), "features", pool="class_token")(pair()[0])


def test_channels_last_is_pooled_over_its_positions() -> None:
    swin = Randomised(0)(lambda: torchvision.models.SwinTransformer([4, 4], 12, [1, 1], [2, 2], [7, 7])).eval()
    images = seeded(1, 1, 3, 32, 32)
    block = hooked(swin, "features.3", images).mean((1, 2))
    torch.testing.assert_close(LatentFeatures(swin, "features.3")(images), block)
    expected = hooked(swin, "norm", images).mean((1, 2))
    torch.testing.assert_close(LatentFeatures(swin, "permute")(images), expected)
    assert LatentFeatures(swin, "features.3", pool="none")(images).shape == (1, 4 * 4 * 24)


def test_feature_shape_is_known_before_images_and_follows_them() -> None:
    model = random_net("squeezenet1_0")
    average, whole = LatentFeatures(model, "features"), LatentFeatures(model, "features", pool="none")
    assert average.feature_shape == (512,)
    assert whole.feature_shape == (512, 13, 13)
    whole(torch.zeros(1, 3, 64, 48))
    assert whole.feature_shape == (512, 3, 2)


def test_feature_shape_without_a_convolution_asks_for_images() -> None:
    features = LatentFeatures(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), "1")
    with pytest.raises(ValueError, match="Call the features on one batch first"):
        _ = features.feature_shape
    features(torch.zeros(1, 3, 2, 2))
    assert features.feature_shape == (4,)


@pytest.mark.parametrize("layer", ["layer1", "layer1.0", "layer1.1.relu", "layer2.0.conv1", "layer2.0.bn2", "maxpool"])
def test_layer_module_has_the_output_of_the_original_layer(layer: str) -> None:
    model = random_net("resnet18")
    features = LatentFeatures(model, "layer2")
    outputs = []
    features.layer_module(layer).register_forward_hook(lambda *call: outputs.append(call[2].clone()))
    images = seeded(1, 1, 3, 64, 64, dtype=torch.float32)
    features(images)
    assert len(outputs) == 1
    torch.testing.assert_close(outputs[0], hooked(model, layer, images))


def test_layer_module_of_a_block_that_ends_in_a_function() -> None:
    model = random_net("shufflenet_v2_x0_5")
    features = LatentFeatures(model, "stage3")
    outputs = []
    features.layer_module("stage2").register_forward_hook(lambda *call: outputs.append(call[2].clone()))
    images = seeded(1, 1, 3, 64, 64, dtype=torch.float32)
    features(images)
    torch.testing.assert_close(outputs[0], hooked(model, "stage2", images))


def test_layer_module_after_the_cut_is_refused_with_close_matches() -> None:
    with pytest.raises(ValueError, match=r"no layer 'layer3' in the network up to 'layer2'.*layer2"):
        LatentFeatures(random_net("resnet18"), "layer2").layer_module("layer3")


def test_an_unknown_layer_lists_close_matches() -> None:
    with pytest.raises(ValueError, match=r"no layer 'layer_2' in ResNet. Did you mean .*layer2"):
        LatentFeatures(random_net("resnet18"), "layer_2")
    with pytest.raises(ValueError, match=r"no layer '' in SmallNet.*features"):
        LatentFeatures(small_net(), "")


def test_a_second_name_of_a_module_is_a_name_of_it() -> None:
    model = small_net()
    model.alias = model.features[1]
    torch.testing.assert_close(
        LatentFeatures(model, "alias")(pair()[0]), LatentFeatures(model, "features.1")(pair()[0])
    )


@pytest.mark.parametrize("build", [small_net, lambda: Randomised(0)(Undecided)])
def test_a_layer_that_is_never_called_is_refused(build: Callable[[], nn.Module]) -> None:
    model = build()
    model.spare = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="'spare' exists but"):
        LatentFeatures(model, "spare")(pair()[0])


def test_a_layer_of_several_outputs_is_refused_with_advice(vit: nn.Module) -> None:
    features = LatentFeatures(vit, "encoder.layers.encoder_layer_0.self_attention")
    with pytest.raises(ValueError, match=r"gives a tuple instead of one tensor. Pick one: .*self_attention:0\."):
        features(torch.zeros(1, 3, 32, 32, dtype=torch.float64))


def test_an_unknown_pooling_is_refused_with_the_choices(as_installed: None) -> None:
    with pytest.raises(ValueError, match="pool must be one of average, max, none, class_token, but got 'mean'"):
        LatentFeatures(small_net(), "features", pool="mean")


def state_of(model: nn.Module) -> object:
    return (
        [(name, id(part), part.training, getattr(part, "inplace", None)) for name, part in model.named_modules()],
        [
            (name, id(value), value._version, value.requires_grad, value.grad)
            for name, value in model.named_parameters()
        ],
        [(name, id(value), value._version) for name, value in model.named_buffers()],
        hooks(model),
    )


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layer", ["layer1.0.relu", "layer3"])
def test_the_model_is_left_as_it_is(training: bool, layer: str) -> None:
    model = random_net("resnet18").train(training)
    values = copy.deepcopy(model.state_dict())
    before = state_of(model)
    features = LatentFeatures(model, layer)
    features(torch.rand(2, 3, 32, 32, requires_grad=True)).sum().backward()
    assert state_of(model) == before
    assert all(torch.equal(value, values[key]) for key, value in model.state_dict().items())


def test_the_model_is_left_as_it_is_where_it_cannot_be_traced() -> None:
    model = Randomised(0)(Undecided)
    before = state_of(model)
    LatentFeatures(model, "second")(pair()[0])
    assert state_of(model) == before
    assert model(pair()[0]).shape == (2, 2)


def test_parameters_are_frozen() -> None:
    model = small_net()
    features = LatentFeatures(model, "features")
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not any(parameter.requires_grad for parameter in features.parameters())
    assert not features(pair()[0]).requires_grad


class Normalised(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.norm, self.dropout = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.dropout(self.norm(self.convolution(images)))


def test_the_features_stay_in_evaluation_mode_and_the_models_statistics_as_they_are() -> None:
    model = Randomised(0)(Normalised)
    values = copy.deepcopy(model.state_dict())
    features = LatentFeatures(model, "dropout")
    expected = features(pair()[0])
    features.train()
    assert torch.equal(features(pair()[0]), expected)
    assert all(torch.equal(value, values[key]) for key, value in model.state_dict().items())


def test_memory_is_shared_with_the_model() -> None:
    model = Randomised(0)(Normalised)
    features = LatentFeatures(model, "dropout")
    held = {value.data_ptr() for value in (*features.parameters(), *features.buffers())}
    assert held == {value.data_ptr() for value in (*model.parameters(), *model.buffers())}
    with torch.no_grad():
        model.convolution.weight.mul_(3)
        model.norm.running_mean.add_(1)
    expected = model.eval()(pair()[0]).mean((2, 3))
    torch.testing.assert_close(features(pair()[0]), expected)


@pytest.mark.parametrize("build", [small_net, lambda: Randomised(0)(Undecided)])
@pytest.mark.parametrize("again", [copy.deepcopy, lambda features: pickle.loads(pickle.dumps(features))])
def test_copies_and_pickles_give_the_same_features(
    build: Callable[[], nn.Module], again: Callable[[LatentFeatures], LatentFeatures]
) -> None:
    model = build()
    features = LatentFeatures(model, next(name for name, _ in model.named_modules() if name in ("features", "second")))
    other = again(features)
    expected = features(pair()[0]).clone()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(other(pair()[0]), expected)
    assert other.pool == features.pool


def test_a_copy_has_its_layers_too() -> None:
    features = copy.deepcopy(LatentFeatures(random_net("resnet18"), "layer1"))
    outputs = []
    features.layer_module("layer1.0").register_forward_hook(lambda *call: outputs.append(call[2]))
    features(torch.zeros(1, 3, 32, 32))
    assert len(outputs) == 1


def test_the_state_dict_goes_from_one_to_another() -> None:
    one, other = (LatentFeatures(small_net(seed), "features") for seed in (0, 1))
    assert not torch.allclose(one(pair()[0]), other(pair()[0]))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(pair()[0]), other(pair()[0]))


def test_a_change_of_dtype_leaves_the_model_its_own() -> None:
    model = small_net()
    features = LatentFeatures(model, "features").float()
    assert features(pair(dtype=torch.float32)[0]).dtype == torch.float32
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}


def test_from_torchvision_keeps_the_preprocessing_of_the_entry() -> None:
    features = LatentFeatures.from_torchvision("mobilenet_v3_small", weights=None, layer="features.2")
    assert features.preprocess is not None
    photograph = torch.zeros(3, 300, 300, dtype=torch.uint8)
    expected = -torch.tensor([0.485, 0.456, 0.406]) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(features.preprocess(photograph).mean((1, 2)), expected)
    assert LatentFeatures(small_net(), "features").preprocess is None


def test_twins_of_a_model_that_cannot_be_traced_give_the_right_maps() -> None:
    model = Randomised(0)(Undecided)
    similarity = small_similarity()
    similarity = type(similarity)(LatentFeatures(model, "second"), type(similarity.readout)(seeded(1, 3, 4)))
    images, references = pair()
    found = ParallelSharedAttribution(similarity).attribute((images, references), target=2)
    h = similarity.shared_weights(images, references, 2)
    for x, one in zip((images, references), found, strict=True):
        x = x.clone().requires_grad_()
        (h * model.second(model.first(x).relu()).mean((2, 3))).sum().backward()
        torch.testing.assert_close(one, x.grad)
