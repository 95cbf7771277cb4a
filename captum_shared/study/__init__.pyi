from .correlation import common_pairs, foreground, map_correlation
from .pair import PairExplanation, explain_pair
from .result import NeuronResult, PairResult, StudyResult
from .run import run_study
from .settings import StudySettings

__all__ = [
    "NeuronResult",
    "PairExplanation",
    "PairResult",
    "StudyResult",
    "StudySettings",
    "common_pairs",
    "explain_pair",
    "foreground",
    "map_correlation",
    "run_study",
]
