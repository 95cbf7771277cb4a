from .encoding import correlation, fit_readout
from .noise import exclusions, noise_corrected, null_interval, reliability
from .readout import LinearReadout
from .validation import LayerChoice, cross_validate, cross_validated_prediction, generalise, select_layer

__all__ = [
    "LayerChoice",
    "LinearReadout",
    "correlation",
    "cross_validate",
    "cross_validated_prediction",
    "exclusions",
    "fit_readout",
    "generalise",
    "noise_corrected",
    "null_interval",
    "reliability",
    "select_layer",
]
