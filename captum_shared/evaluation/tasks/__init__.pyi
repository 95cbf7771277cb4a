from .ceiling import CEILING, cells_alone
from .design import Task, Trial, factorial_design
from .grid import grid_task
from .labels import LabelObserver, label_ceiling
from .parts import parts_task
from .preferences import CategoryNeuron, category_neurons

__all__ = [
    "CEILING",
    "CategoryNeuron",
    "LabelObserver",
    "Task",
    "Trial",
    "category_neurons",
    "cells_alone",
    "factorial_design",
    "grid_task",
    "label_ceiling",
    "parts_task",
]
