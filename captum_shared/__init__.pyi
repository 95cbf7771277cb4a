from ._engine import engine_by_name
from .attr import (
    LayerSharedAttribution,
    Match,
    NeuronSimilarity,
    ParallelSharedAttribution,
    PixelSharedCorrespondence,
    ReferenceBank,
    SharedCorrespondence,
    SharedProjection,
    neuron_similarity,
    shared_weights,
)
from .encoders import LatentFeatures, LayerFeatures
from .methods import explain
from .neurons import (
    LinearReadout,
    fit_readout,
    heldout_correlation,
    heldout_null_interval,
    noise_corrected,
    null_interval,
    ooc_correlation,
    reliability,
    select_layer,
)
from .recordings import Recording
from .study import StudySettings, run_study

__all__ = [
    "LatentFeatures",
    "LayerFeatures",
    "LayerSharedAttribution",
    "LinearReadout",
    "Match",
    "NeuronSimilarity",
    "ParallelSharedAttribution",
    "PixelSharedCorrespondence",
    "Recording",
    "ReferenceBank",
    "SharedCorrespondence",
    "SharedProjection",
    "StudySettings",
    "engine_by_name",
    "explain",
    "fit_readout",
    "heldout_correlation",
    "heldout_null_interval",
    "neuron_similarity",
    "noise_corrected",
    "null_interval",
    "ooc_correlation",
    "reliability",
    "run_study",
    "select_layer",
    "shared_weights",
]
