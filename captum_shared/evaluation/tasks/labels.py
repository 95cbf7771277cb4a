r"""What an observer could tell who knows the photographs' true labels: a second ceiling, not a method.

.. math:: C(p, q) = \sum_{c \in \text{categories of the neuron}} P(c \mid x_p) \, P(c \mid x'_q)

the probability that two places hold the same of the categories that truly drive the neuron, with the features
:math:`x_p` of places as the methods have them (:mod:`captum_shared.encoders.windows`) and P of a multinomial logistic
regression on places of the photographs that the readouts are fitted on.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, final

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from captum_shared.attr.pairs import Pair
from captum_shared.attr.similarity import NeuronSimilarity
from captum_shared.encoders.features import LatentFeatures
from captum_shared.encoders.photographs import load_inputs
from captum_shared.encoders.windows import local_features
from captum_shared.methods.explained import cut_at_positions
from captum_shared.methods.method import Method

_C: Final = 0.01
"""Inverse strength of the penalty on standardised features, with which labels of held-out photographs are predicted
about as well as with any."""

_MOST_ROWS: Final = 5
"""Of more rows or columns every second, third ... is fitted on."""

_BATCH: Final = 16


@final
class LabelObserver:
    """Knows the labels of the photographs for fitting, and the categories that drive each neuron.

    It is fitted when it is first asked.

    Args:
        paths: photographs for fitting.
        labels: what each shows.
        drivers: for each neuron its categories.
    """

    def __init__(self, paths: Sequence[Path], labels: Sequence[str], drivers: Sequence[Mapping[str, float]]) -> None:
        self._paths, self._labels, self._drivers = paths, labels, drivers
        self._classifier: Any = None

    def __call__(self, similarity: NeuronSimilarity, inputs: Pair, target: Tensor) -> Pair:
        """Compute the maps: C summed over the positions of the other image.

        Args:
            similarity: whose encoder it is.
            inputs: the pair.
            target: the neuron of each pair.

        Returns:
            Maps at the cut, (image, 1, row, column), not negative.
        """
        encoder = cut_at_positions(similarity.image_features, inputs[0])
        if self._classifier is None:
            self._classifier = self._fitted(encoder)
        with torch.no_grad():
            cuts = [encoder.activation(images) for images in inputs]
        drives = [[name in self._drivers[int(neuron)] for name in self._classifier.classes_] for neuron in target]
        known = torch.tensor(drives).to(cuts[0])[:, None]
        first, second = (known * self._probabilities(cut) for cut in cuts)
        alike = first @ second.mT
        return alike.sum(2).reshape(-1, 1, *cuts[0].shape[2:]), alike.sum(1).reshape(-1, 1, *cuts[1].shape[2:])

    def _probabilities(self, cut: Float[Tensor, "image feature row column"]) -> Float[Tensor, "image position label"]:
        places = local_features(cut, torch.zeros_like(cut[0, :, 0, 0]))
        each = self._classifier.predict_proba(places.flatten(0, 1).cpu().double().numpy())
        return torch.from_numpy(each).to(cut).reshape(*places.shape[:2], -1)

    def _fitted(self, encoder: LatentFeatures) -> Any:
        places, labels = [], []
        for start in range(0, len(self._paths), _BATCH):
            with torch.no_grad():
                cut = encoder.activation(load_inputs(encoder, self._paths[start : start + _BATCH]))
            rows, columns = (-(-side // _MOST_ROWS) for side in cut.shape[2:])
            local = local_features(cut, torch.zeros_like(cut[0, :, 0, 0])).mT.reshape(cut.shape)
            fitted = local[:, :, ::rows, ::columns].flatten(2).mT
            places.append(fitted.flatten(0, 1).cpu().double().numpy())
            labels += list(np.repeat(self._labels[start : start + _BATCH], fitted.shape[1]))
        regression = LogisticRegression(C=_C, max_iter=300, tol=1e-3)
        return make_pipeline(StandardScaler(), regression).fit(np.concatenate(places), labels)


def label_ceiling(paths: Sequence[Path], labels: Sequence[str], drivers: Sequence[Mapping[str, float]]) -> Method:
    """Make the row of the observer beside the methods.

    Args:
        paths: photographs for fitting.
        labels: what each shows.
        drivers: for each neuron its categories.

    Returns:
        The method ``ceiling-labels``.

    Example:
        >>> label_ceiling([Path("a.jpg")], ["dog"], [{"dog": 9.0}]).family
        'ceiling'
    """
    observer = LabelObserver(paths, labels, drivers)
    return Method("ceiling-labels", "ceiling", observer, kind="layer", title="places by their true labels")
