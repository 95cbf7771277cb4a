"""At which depth of a network its features predict a recording best."""

import torch
from jaxtyping import Float64
from numpy import ndarray
from tqdm import tqdm

from captum_shared.encoders.layers import LayerFeatures
from captum_shared.encoders.photographs import load_inputs
from captum_shared.neurons.validation import select_layer
from captum_shared.recordings.recording import Recording
from captum_shared.study.settings import StudySettings

_BATCH = 32


@torch.no_grad()
def layer_correlations(
    recording: Recording, features: LayerFeatures, settings: StudySettings, *, progress: bool = False
) -> Float64[ndarray, " layer"]:
    """Tell how well every layer predicts the responses to held-out images of the preferred category.

    All layers come from one pass through the network, of the images of the preferred category alone; they are judged on
    the same folds (:func:`~captum_shared.select_layer`). Of a choice by these numbers the best is a little optimistic,
    as is the correlation on held-out images that the study then finds with the same folds; that on other categories,
    which the choice has not seen, is not.

    Args:
        recording: responses and image files.
        features: the layers, with their ``preprocess`` set.
        settings: which category is preferred, and the folds.
        progress: whether to show a progress bar.

    Returns:
        The correlation, mean of the neurons, of every layer.
    """
    inside = recording.in_category(settings.preferred)
    paths = [path for path, chosen in zip(recording.paths or (), inside, strict=True) if chosen]
    starts = tqdm(range(0, len(paths), _BATCH), desc="layers", unit="batch", disable=not progress)
    batches = [features(load_inputs(features.deepest, paths[start : start + _BATCH])) for start in starts]
    latent = {layer: torch.cat([batch[layer] for batch in batches]).cpu().numpy() for layer in features.layers}
    choice = select_layer(latent, recording.mean[inside], cv=settings.folds, random_state=settings.seed)
    return torch.tensor([choice.means[layer] for layer in features.layers], dtype=torch.float64).numpy()
