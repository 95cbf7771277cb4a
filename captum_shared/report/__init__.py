"""What people look at in a browser: pages of a study, a benchmark or a pair, in one file each."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
