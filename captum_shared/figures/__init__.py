"""What people look at: pairs of images under the maps of what they share, studies and benchmarks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
