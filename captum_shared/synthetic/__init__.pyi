from .network import average_precisions, train
from .neurons import SyntheticNeuron, category_selective_neurons, estimated_gains, record
from .parts import PARTS
from .recording import RECORDING_FORMATS, simulate_recording
from .stimuli import CATEGORIES, Stimulus, draw_stimuli, visible_area
from .world import SimulatedWorld, simulated_world

__all__ = [
    "CATEGORIES",
    "PARTS",
    "RECORDING_FORMATS",
    "SimulatedWorld",
    "Stimulus",
    "SyntheticNeuron",
    "average_precisions",
    "category_selective_neurons",
    "draw_stimuli",
    "estimated_gains",
    "record",
    "simulate_recording",
    "simulated_world",
    "train",
    "visible_area",
]
