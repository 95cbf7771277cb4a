"""Judges of attribution maps: tasks with a known answer, scores, and the benchmark that runs them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
