"""The shared-feature maps, in all their settings."""

from dataclasses import dataclass
from typing import Final, final

from captum.attr import GuidedBackprop, NoiseTunnel
from torch import Tensor

from captum_shared.attr.backpropagation import PairPass
from captum_shared.attr.correspondence import SharedCorrespondence, check_corresponds
from captum_shared.attr.heatmaps import Kind
from captum_shared.attr.layer import LayerSharedAttribution
from captum_shared.attr.pairs import Pair
from captum_shared.attr.parallel import ParallelSharedAttribution
from captum_shared.attr.pixel_correspondence import PixelSharedCorrespondence, backpropagated_places, covering_maps
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.photographs import mid_grey
from captum_shared.methods.explained import cut_at_positions
from captum_shared.methods.method import Call, Method
from captum_shared.methods.sampling import BATCH, N_SAMPLES, noise_levels, pair_by_pair
from captum_shared.neurons.readout import LinearReadout


@final
@dataclass(frozen=True)
class Features:
    """Which features count as shared, and from where they are measured.

    Attributes:
        center: whether they are measured from the readout's ``feature_mean``; from zero otherwise, as in the paper.
        excitatory: whether only those count that drive the neuron in both images.
    """

    center: bool = False
    excitatory: bool = False

    def of(self, similarity: NeuronSimilarity) -> NeuronSimilarity:
        """Return the same neurons with such features.

        Args:
            similarity: the twins, whose network is shared.

        Returns:
            Twins of their own.

        Example:
            >>> from torch import nn
            >>> readout = LinearReadout([[1.0, 1.0]], feature_mean=[1.0, 2.0])
            >>> Features().of(NeuronSimilarity(nn.Flatten(), readout)).readout.feature_mean
            tensor([0., 0.])
        """
        readout = similarity.readout
        if not self.center:
            readout = LinearReadout(readout.weight, readout.bias, neuron_names=readout.neuron_names)
        return similarity.with_readout(readout, excitatory=self.excitatory)

    def shared_by(self, maps: Call) -> Call:
        """Return a method with these features in place of those of the similarity it is given.

        Args:
            maps: the method.

        Returns:
            The method with these features.

        Example:
            >>> from torch import nn, tensor
            >>> similarity = NeuronSimilarity(nn.Flatten(), LinearReadout([[1.0, 1.0]], feature_mean=[1.0, 2.0]))
            >>> pair = tensor([[[[2.0]], [[2.0]]]]), tensor([[[[3.0]], [[2.0]]]])
            >>> Features(center=True).shared_by(gradient)(similarity, pair, tensor([0]))[0].flatten()
            tensor([1., 0.])
        """
        return lambda similarity, inputs, target: maps(self.of(similarity), inputs, target)

    def gradient_of(self, passed: PairPass, similarity: NeuronSimilarity, target: Tensor) -> Pair:
        """Compute J_f(x)ᵀh for such features from a pass that is done.

        Args:
            passed: the pass.
            similarity: the twins.
            target: the neuron of each pair.

        Returns:
            Gradients of the pixels.
        """
        return passed.gradients(self.of(similarity), target)


def gradient(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    """Compute J_f(x)ᵀh, as in the paper."""
    return _pair(ParallelSharedAttribution(similarity).attribute(inputs, target))


def integrated_gradients(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    """Integrate from mid-grey."""
    grey = mid_grey(similarity.image_features, inputs[0]), mid_grey(similarity.reference_features, inputs[1])
    method = ParallelSharedAttribution(similarity, "integrated_gradients")
    return _pair(
        method.attribute(inputs, target, baselines=grey, n_steps=N_SAMPLES, internal_batch_size=max(BATCH, len(target)))
    )


def smoothgrad(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    """Average the gradient maps of noisy copies of the pair."""
    tunnel = NoiseTunnel(ParallelSharedAttribution(similarity))

    def explain(pair: tuple[Tensor, ...], neuron: Tensor) -> tuple[Tensor, ...]:
        return tuple(tunnel.attribute(pair, nt_samples=N_SAMPLES, stdevs=noise_levels(pair), target=neuron))

    return _pair(pair_by_pair(explain, inputs, target))


def guided(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    """Backpropagate h through ReLUs that let only positive gradients pass."""
    return _pair(ParallelSharedAttribution(similarity, GuidedBackprop).attribute(inputs, target))


def layer(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    """Compute h times activation at the cut."""
    cut_at_positions(similarity.image_features, inputs[0])
    cut_at_positions(similarity.reference_features, inputs[1])
    return _pair(LayerSharedAttribution(similarity).attribute(inputs, target))


def correspondence(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    """Compute which places correspond, at the cut."""
    return _pair(SharedCorrespondence(similarity).attribute(inputs, target))


def refined(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    """Compute which places correspond, at the resolution of the images."""
    return _pair(PixelSharedCorrespondence(similarity).attribute(inputs, target))


def refined_of(passed: PairPass, similarity: NeuronSimilarity, target: Tensor) -> Pair:
    """Compute :func:`refined` from a pass that is done."""
    check_corresponds(similarity, "PixelSharedCorrespondence")
    return covering_maps(passed, similarity, target)


def pixels_of(passed: PairPass, similarity: NeuronSimilarity, target: Tensor) -> Pair:
    """Compute :func:`pixels` from a pass that is done."""
    check_corresponds(similarity, "PixelSharedCorrespondence")
    return backpropagated_places(passed, similarity, target)


def pixels(similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
    """Backpropagate the shared features of every place, weighted by its correspondence."""
    return _pair(PixelSharedCorrespondence(similarity, refine=False).attribute(inputs, target))


def _pair(maps: tuple[Tensor, ...]) -> Pair:
    first, second = maps
    return first, second


PAPER: Final = Features()
CENTRED: Final = Features(center=True)
EXCITATORY: Final = Features(center=True, excitatory=True)

_FEATURES: Final = {"": PAPER, "centred": CENTRED, "excitatory": EXCITATORY}
_MAPS: Final[dict[str, tuple[Call, Kind, str, tuple[int, int]]]] = {
    "gradient": (gradient, "gradient", "gradient", (1, 1)),
    "ig": (integrated_gradients, "contribution", "Integrated Gradients", (N_SAMPLES + 1, N_SAMPLES)),
    "smoothgrad": (smoothgrad, "gradient", "SmoothGrad", (N_SAMPLES, N_SAMPLES)),
    "guided": (guided, "gradient", "guided backpropagation", (2, 1)),
    "layer": (layer, "layer", "at the layer", (1, 0)),
}


def _record(maps: str, which: str) -> Method:
    call, kind, title, passes = _MAPS[maps]
    name = f"ours-{maps}-{which}" if which else f"ours-{maps}" if maps != "gradient" else "paper"
    shared = f"shared {which} features".replace("  ", " ")
    title = f"{shared}, {title}" if name != "paper" else f"{shared} (the paper's gradient)"
    features = _FEATURES[which]
    of_pass = features.gradient_of if maps == "gradient" else None
    return Method(name, "ours", features.shared_by(call), kind=kind, title=title, of_pass=of_pass, passes=passes)


RECOMMENDED: Final = Method(
    "recommended",
    "ours",
    refined,
    kind="layer",
    title="shared places",
    of_pass=refined_of,
    passes=(1, 1),
    absolute=True,
)
"""What every other method is compared with."""

OURS: Final = (
    RECOMMENDED,
    Method(
        "ours-correspondence",
        "ours",
        correspondence,
        kind="layer",
        title="shared places, at the layer",
        passes=(1, 0),
        absolute=True,
    ),
    Method(
        "ours-correspondence-pixels",
        "ours",
        pixels,
        kind="gradient",
        title="shared places, gradient",
        of_pass=pixels_of,
        passes=(1, 1),
    ),
    *(_record(maps, which) for which in _FEATURES for maps in _MAPS),
)
"""The correspondence of places, and the paper's h with any Jacobian: not centred as in the paper, centred, and centred
with excitatory features only. (Not centred, the features of a ReLU are never negative, so that excitatory would mean no
more than a positive weight.)"""
