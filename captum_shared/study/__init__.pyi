from .behaviour import Behaviour, BehaviourTable
from .concordance import Concordance
from .correlation import common_pairs, foreground, map_correlation
from .evidence import PairEvidence, RankedReference, Responses
from .grouping import likeness
from .pair import PairExplanation, explain_pair, pair_evidence
from .plan import StudyCost, StudyPlan, cost_of_study, plan_study
from .rank_tests import Relation
from .result import NeuronResult, PairResult, StudyResult
from .run import run_study
from .settings import StudySettings
from .subjects import equally_noisy, profile_correlations

__all__ = [
    "Behaviour",
    "BehaviourTable",
    "Concordance",
    "NeuronResult",
    "PairEvidence",
    "PairExplanation",
    "PairResult",
    "RankedReference",
    "Relation",
    "Responses",
    "StudyCost",
    "StudyPlan",
    "StudyResult",
    "StudySettings",
    "common_pairs",
    "cost_of_study",
    "equally_noisy",
    "explain_pair",
    "foreground",
    "likeness",
    "map_correlation",
    "pair_evidence",
    "plan_study",
    "profile_correlations",
    "run_study",
]
