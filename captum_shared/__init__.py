"""What do two images share, for this neuron? Shared-feature attribution for Captum."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
