from .chance import Significance, significance
from .correspondence import SharedCorrespondence
from .cosines import neuron_similarity, pairwise_similarity, shared_weights
from .decomposition import Components, components
from .embedding import embedding_readout
from .heatmaps import Kind, heatmap, rank_correlation
from .integration import AutoSteps
from .layer import LayerSharedAttribution
from .matching import Counterpart, counterpart
from .neuron_maps import NeuronMaps
from .parallel import ParallelSharedAttribution
from .pixel_correspondence import PixelSharedCorrespondence
from .places import SHARPNESS, agreement, corresponding, local_drive
from .population import Population
from .projection import SharedProjection
from .references import Match, ReferenceBank
from .similarity import NeuronSimilarity

__all__ = [
    "SHARPNESS",
    "AutoSteps",
    "Components",
    "Counterpart",
    "Kind",
    "LayerSharedAttribution",
    "Match",
    "NeuronMaps",
    "NeuronSimilarity",
    "ParallelSharedAttribution",
    "PixelSharedCorrespondence",
    "Population",
    "ReferenceBank",
    "SharedCorrespondence",
    "SharedProjection",
    "Significance",
    "agreement",
    "components",
    "corresponding",
    "counterpart",
    "embedding_readout",
    "heatmap",
    "local_drive",
    "neuron_similarity",
    "pairwise_similarity",
    "rank_correlation",
    "shared_weights",
    "significance",
]
