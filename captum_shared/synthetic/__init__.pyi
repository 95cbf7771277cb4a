from .network import average_precisions
from .neurons import SyntheticNeuron, category_selective_neurons, estimated_gains, record
from .parts import PARTS
from .recording import RecordingFormat, simulate_recording
from .stimuli import CATEGORIES, Stimulus, draw_stimuli, visible_area

__all__ = [
    "CATEGORIES",
    "PARTS",
    "RecordingFormat",
    "Stimulus",
    "SyntheticNeuron",
    "average_precisions",
    "category_selective_neurons",
    "draw_stimuli",
    "estimated_gains",
    "record",
    "simulate_recording",
    "visible_area",
]
