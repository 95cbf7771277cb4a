"""The method: the similarity of two images for a neuron, its reference, and the maps of what they share."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
