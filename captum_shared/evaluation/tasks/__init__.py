"""Pairs of images of which it is known what they share for a neuron."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
