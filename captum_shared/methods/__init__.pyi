from .method import Method
from .registry import METHODS, methods_by_name

__all__ = [
    "METHODS",
    "Method",
    "methods_by_name",
]
