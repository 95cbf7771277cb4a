from .behaviour import behaviour_figure
from .benchmark import benchmark_figure, save_benchmark
from .comparison import architectures_figure, integrated_gradients_figure
from .components import components_figure
from .concordance import concordance_figure
from .counterpart import counterpart_figure
from .encoding import encoding_figure
from .objects import faint_figure, pair_panels_figure
from .output import check_output, save_figure
from .overlay import absolute_scale, density, draw_outline, draw_overlay, draw_picture, scale, told_share
from .pair import Candidate, Panel, explanation_panels, pair_figure, shared_totals
from .preferences import preferences_figure
from .responses import response_figure
from .simulated import known_pair_figure
from .study import FigureFormat, write_figures

__all__ = [
    "Candidate",
    "FigureFormat",
    "Panel",
    "absolute_scale",
    "architectures_figure",
    "behaviour_figure",
    "benchmark_figure",
    "check_output",
    "components_figure",
    "concordance_figure",
    "counterpart_figure",
    "density",
    "draw_outline",
    "draw_overlay",
    "draw_picture",
    "encoding_figure",
    "explanation_panels",
    "faint_figure",
    "integrated_gradients_figure",
    "known_pair_figure",
    "pair_figure",
    "pair_panels_figure",
    "preferences_figure",
    "response_figure",
    "save_benchmark",
    "save_figure",
    "scale",
    "shared_totals",
    "told_share",
    "write_figures",
]
