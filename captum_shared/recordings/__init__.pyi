from .datasets import kriegeskorte92, preference, response_modes
from .formats.table import FORMATS
from .recording import Recording

__all__ = [
    "FORMATS",
    "Recording",
    "kriegeskorte92",
    "preference",
    "response_modes",
]
