"""What do two images share, for this neuron? Shared-feature attribution for Captum."""

from captum_shared.attribution import LayerSharedAttribution, ParallelSharedAttribution
from captum_shared.encoding import fit_readout
from captum_shared.features import LatentFeatures
from captum_shared.projection import SharedProjection
from captum_shared.readout import LinearReadout
from captum_shared.references import Match, ReferenceBank
from captum_shared.similarity import NeuronSimilarity, neuron_similarity, shared_weights

__all__ = [
    "LatentFeatures",
    "LayerSharedAttribution",
    "LinearReadout",
    "Match",
    "NeuronSimilarity",
    "ParallelSharedAttribution",
    "ReferenceBank",
    "SharedProjection",
    "fit_readout",
    "neuron_similarity",
    "shared_weights",
]
