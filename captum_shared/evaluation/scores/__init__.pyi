from .evidence import Evidence, KnownPairs
from .faithfulness import PairFaithfulness, blurred, unexplained_share
from .intervals import Interval, bootstrap, bootstrap_auroc
from .partition import partition_agreement
from .ranks import auroc, average_precision, pixel_ap, pixel_auroc, pointing, region_auroc
from .records import SCORES, Score
from .recovery import (
    KINDS,
    answer_largest,
    outweighs,
    positive_mass,
    recovery_scores,
    region_densities,
    total_mass,
)
from .sanity import map_agreement, network_agreement, randomised, readout_agreement, reference_agreement

__all__ = [
    "KINDS",
    "SCORES",
    "Evidence",
    "Interval",
    "KnownPairs",
    "PairFaithfulness",
    "Score",
    "answer_largest",
    "auroc",
    "average_precision",
    "blurred",
    "bootstrap",
    "bootstrap_auroc",
    "map_agreement",
    "network_agreement",
    "outweighs",
    "partition_agreement",
    "pixel_ap",
    "pixel_auroc",
    "pointing",
    "positive_mass",
    "randomised",
    "readout_agreement",
    "recovery_scores",
    "reference_agreement",
    "region_auroc",
    "region_densities",
    "total_mass",
    "unexplained_share",
]
