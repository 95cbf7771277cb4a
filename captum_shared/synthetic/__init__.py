"""A drawn world in which the answers are known: images, neurons, recordings, and a network trained on it."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
