"""How right a map is: recovery of a known answer, faithfulness, sanity, and intervals."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
