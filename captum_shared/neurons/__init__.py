"""What a neuron is: a linear readout of features, its fit, how well it predicts, and what noise lets one expect."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
