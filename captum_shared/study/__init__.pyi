from .agreement import common_pairs, map_agreement
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
    "map_agreement",
    "run_study",
]
