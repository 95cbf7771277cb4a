"""What turns an image into features: networks cut at a layer, pooled, by name or from files."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
