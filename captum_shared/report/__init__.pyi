from .benchmark import write_benchmark_report
from .explained import write_pair_report
from .kinds import write_report
from .page import Part, write_page
from .study import write_study_report

__all__ = [
    "Part",
    "write_benchmark_report",
    "write_page",
    "write_pair_report",
    "write_report",
    "write_study_report",
]
