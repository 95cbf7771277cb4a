from .explanation import Explanation, explain
from .method import LOOKS_AT, Method
from .registry import DEFAULT_METHODS, METHODS, methods_by_name

__all__ = [
    "DEFAULT_METHODS",
    "LOOKS_AT",
    "METHODS",
    "Explanation",
    "Method",
    "explain",
    "methods_by_name",
]
