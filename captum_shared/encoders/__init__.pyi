from .by_name import EMBEDDED, encoder_by_name
from .checkpoints import load_torchvision
from .embedded import embedded_network
from .features import LatentFeatures
from .layers import LayerFeatures
from .photographs import latent_features, load_inputs, mid_grey
from .pooling import Pool
from .windows import WINDOW, LocalScatter, local_features, local_scatter

__all__ = [
    "EMBEDDED",
    "WINDOW",
    "LatentFeatures",
    "LayerFeatures",
    "LocalScatter",
    "Pool",
    "embedded_network",
    "encoder_by_name",
    "latent_features",
    "load_inputs",
    "load_torchvision",
    "local_features",
    "local_scatter",
    "mid_grey",
]
