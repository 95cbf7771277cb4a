"""The readouts of a study, and what the noise of the recording lets one expect of them."""

import math

from jaxtyping import Bool, Float, Float64
from numpy import full, ndarray
from torch import Tensor

from captum_shared.encoders.features import LatentFeatures
from captum_shared.neurons.encoding import fit_readout
from captum_shared.neurons.noise import reliability
from captum_shared.neurons.permutations import heldout_against_chance
from captum_shared.neurons.readout import LinearReadout
from captum_shared.recordings.recording import Recording
from captum_shared.study.settings import StudySettings


def preferred_readout(
    recording: Recording,
    latent: Float[Tensor, "image feature"],
    settings: StudySettings,
    *,
    features: LatentFeatures,
    scatter: Float64[ndarray, "feature feature"] | None = None,
    progress: bool = False,
) -> LinearReadout:
    """Fit the readouts on the preferred category alone, and judge them there.

    Args:
        recording: the responses.
        latent: the latent features of all images.
        settings: which category, and the folds.
        features: the encoder.
        scatter: how places differ within images (:func:`~captum_shared.encoders.local_scatter`).
        progress: whether to show a progress bar.

    Returns:
        The readouts, which know where they come from, how well they predict held-out images, and, as examples, the
        images that they are fitted on.
    """
    inside = recording.in_category(settings.preferred)
    fitted, mean = latent[inside], recording.mean[inside]
    heldout = heldout_against_chance(fitted, mean, cv=settings.folds, random_state=settings.seed, progress=progress)
    readout = fit_readout(fitted, mean, center=True, neuron_names=recording.neuron_names)
    return readout.with_heldout(*heldout).with_origin(features.origin).with_examples(fitted, scatter)


def recorded_reliability(recording: Recording, images: Bool[ndarray, " image"]) -> Float64[ndarray, " neuron"]:
    """Measure how reliable the responses to some images are.

    Args:
        recording: the responses.
        images: which images.

    Returns:
        The reliability of one phase, where there are several; that of all the data, where there are halves of it; else
        the one that was published with them, whatever images it is of; else NaN.
    """
    if recording.n_phases > 1:
        return reliability(recording.responses[:, images])
    if recording.halves is not None:
        return reliability(recording.halves[:, images], split_halves=True)
    if recording.reliability is not None:
        return recording.reliability
    return full(recording.n_neurons, math.nan)
