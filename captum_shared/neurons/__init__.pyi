from .encoding import correlation, fit_readout
from .noise import exclusions, noise_corrected, null_interval, reliability
from .permutations import heldout_null_interval
from .readout import LinearReadout
from .validation import LayerChoice, cross_validated_prediction, heldout_correlation, ooc_correlation, select_layer

__all__ = [
    "LayerChoice",
    "LinearReadout",
    "correlation",
    "cross_validated_prediction",
    "exclusions",
    "fit_readout",
    "heldout_correlation",
    "heldout_null_interval",
    "noise_corrected",
    "null_interval",
    "ooc_correlation",
    "reliability",
    "select_layer",
]
