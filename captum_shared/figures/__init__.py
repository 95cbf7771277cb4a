"""What people look at: pairs of images under the maps of what they share, and what a study found."""

from captum_shared.figures.benchmark import benchmark_figure
from captum_shared.figures.comparison import architectures_figure, integrated_gradients_figure
from captum_shared.figures.encoding import encoding_figure
from captum_shared.figures.objects import faint_figure, pair_panels_figure
from captum_shared.figures.output import check_output, save_figure
from captum_shared.figures.pair import Panel, pair_figure
from captum_shared.figures.preferences import preferences_figure
from captum_shared.figures.responses import response_figure

__all__ = [
    "Panel",
    "architectures_figure",
    "benchmark_figure",
    "check_output",
    "encoding_figure",
    "faint_figure",
    "integrated_gradients_figure",
    "pair_figure",
    "pair_panels_figure",
    "preferences_figure",
    "response_figure",
    "save_figure",
]
