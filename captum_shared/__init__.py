"""What do two images share, for this neuron? Shared-feature attribution for Captum."""

from captum_shared.attribution import LayerSharedAttribution, ParallelSharedAttribution
from captum_shared.correspondence import SharedCorrespondence
from captum_shared.encoding import fit_readout
from captum_shared.features import LatentFeatures
from captum_shared.layers import LayerFeatures
from captum_shared.projection import SharedProjection
from captum_shared.readout import LinearReadout
from captum_shared.recordings import Recording
from captum_shared.references import Match, ReferenceBank
from captum_shared.reliability import noise_corrected, null_interval, reliability
from captum_shared.similarity import NeuronSimilarity, neuron_similarity, shared_weights
from captum_shared.study.run import run_study
from captum_shared.study.settings import StudySettings
from captum_shared.validation import cross_validate, generalise, select_layer

__all__ = [
    "LatentFeatures",
    "LayerFeatures",
    "LayerSharedAttribution",
    "LinearReadout",
    "Match",
    "NeuronSimilarity",
    "ParallelSharedAttribution",
    "Recording",
    "ReferenceBank",
    "SharedCorrespondence",
    "SharedProjection",
    "StudySettings",
    "cross_validate",
    "fit_readout",
    "generalise",
    "neuron_similarity",
    "noise_corrected",
    "null_interval",
    "reliability",
    "run_study",
    "select_layer",
    "shared_weights",
]
