"""At which depth of a network its features predict a recording best."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from captum_shared.neurons.validation import select_layer
from captum_shared.recordings.recording import Recording
from captum_shared.study.latents import Latents
from captum_shared.study.settings import StudySettings


def layer_correlations(
    recording: Recording, layers: Sequence[str], latents: Latents, settings: StudySettings
) -> Float64[ndarray, " layer"]:
    """Tell how well every layer predicts the responses to held-out images of the preferred category.

    They are judged on the same folds (:func:`~captum_shared.select_layer`). Of a choice by these numbers the best is a
    little optimistic, as is the correlation on held-out images that the study then finds with the same folds; that on
    other categories, which the choice has not seen, is not.

    Args:
        recording: responses and image files.
        layers: names of the layers.
        latents: the latent features of all images.
        settings: which category is preferred, and the folds.

    Returns:
        The correlation, mean of the neurons, of every layer.
    """
    inside = recording.in_category(settings.preferred)
    latent = {layer: latents.at(layer, inside).numpy() for layer in layers}
    choice = select_layer(latent, recording.mean[inside], cv=settings.folds, random_state=settings.seed)
    return np.array([choice.means[layer] for layer in layers], dtype=np.float64)
