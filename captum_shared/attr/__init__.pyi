from .correspondence import SharedCorrespondence
from .heatmaps import Kind, heatmap, rank_correlation
from .layer import LayerSharedAttribution
from .parallel import ParallelSharedAttribution
from .places import SHARPNESS, WINDOW, local_drive, local_features
from .projection import SharedProjection
from .references import Match, ReferenceBank
from .similarity import NeuronSimilarity, neuron_similarity, pairwise_similarity, shared_weights

__all__ = [
    "SHARPNESS",
    "WINDOW",
    "Kind",
    "LayerSharedAttribution",
    "Match",
    "NeuronSimilarity",
    "ParallelSharedAttribution",
    "ReferenceBank",
    "SharedCorrespondence",
    "SharedProjection",
    "heatmap",
    "local_drive",
    "local_features",
    "neuron_similarity",
    "pairwise_similarity",
    "rank_correlation",
    "shared_weights",
]
