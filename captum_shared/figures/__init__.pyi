from .benchmark import benchmark_figure, save_benchmark
from .comparison import architectures_figure, integrated_gradients_figure
from .encoding import encoding_figure
from .objects import faint_figure, pair_panels_figure
from .output import check_output, save_figure
from .overlay import draw_overlay, draw_picture, scale
from .pair import Panel, pair_figure, pair_panels
from .preferences import preferences_figure
from .responses import response_figure
from .simulated import known_pair_figure
from .study import FigureFormat, write_figures

__all__ = [
    "FigureFormat",
    "Panel",
    "architectures_figure",
    "benchmark_figure",
    "check_output",
    "draw_overlay",
    "draw_picture",
    "encoding_figure",
    "faint_figure",
    "integrated_gradients_figure",
    "known_pair_figure",
    "pair_figure",
    "pair_panels",
    "pair_panels_figure",
    "preferences_figure",
    "response_figure",
    "save_benchmark",
    "save_figure",
    "scale",
    "write_figures",
]
