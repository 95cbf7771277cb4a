from .datasets import kriegeskorte92, natural_scenes, preference, response_modes, things_ventral_stream
from .formats.table import FORMATS
from .listed import listed_images
from .recording import Recording
from .stored import StoredRecording

__all__ = [
    "FORMATS",
    "Recording",
    "StoredRecording",
    "kriegeskorte92",
    "listed_images",
    "natural_scenes",
    "preference",
    "response_modes",
    "things_ventral_stream",
]
