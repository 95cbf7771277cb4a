from .datasets import kriegeskorte92, preference, response_modes
from .formats.table import FORMATS
from .recording import Recording
from .stored import StoredRecording

__all__ = [
    "FORMATS",
    "Recording",
    "StoredRecording",
    "kriegeskorte92",
    "preference",
    "response_modes",
]
