from .datasets import kriegeskorte92, preference, response_modes
from .recording import Recording

__all__ = [
    "Recording",
    "kriegeskorte92",
    "preference",
    "response_modes",
]
