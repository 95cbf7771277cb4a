from .registry import METHODS, Method, methods

__all__ = [
    "METHODS",
    "Method",
    "methods",
]
