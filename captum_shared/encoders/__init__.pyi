from .by_name import EMBEDDED, encoder_by_name, layers_by_name, network_by_name
from .catalogue import LayerOutput, last_layer_with_positions, layer_outputs
from .checkpoints import example_input, load_torchvision, load_weights
from .embedded import embedded_network
from .features import LatentFeatures
from .layers import LayerFeatures
from .origin import origin_of
from .photographs import latent_features, load_inputs, mid_grey
from .pooling import Pool
from .store import FeatureStore
from .windows import WINDOW, LocalScatter, local_features, local_scatter
from .writing import Extraction, write_features

__all__ = [
    "EMBEDDED",
    "WINDOW",
    "Extraction",
    "FeatureStore",
    "LatentFeatures",
    "LayerFeatures",
    "LayerOutput",
    "LocalScatter",
    "Pool",
    "embedded_network",
    "encoder_by_name",
    "example_input",
    "last_layer_with_positions",
    "latent_features",
    "layer_outputs",
    "layers_by_name",
    "load_inputs",
    "load_torchvision",
    "load_weights",
    "local_features",
    "local_scatter",
    "mid_grey",
    "network_by_name",
    "origin_of",
    "write_features",
]
