"""How other repositories count, each in one file, over one table of pairs: the same predictions, several numbers.

A protocol is a function of two tables of `JUDGED` rows, the pairs to count and the pairs on which a threshold for ties may be
fitted, to a `Score`. Each file says which source its rule rests on, and what could not be as it is there.
"""

from collections.abc import Callable

import polars as pl

from suasion.evaluation.protocols._table import JUDGED, Score, from_predictions, from_ranking
from suasion.evaluation.protocols.genai_bench import genai_bench
from suasion.evaluation.protocols.hpdv2 import hpdv2
from suasion.evaluation.protocols.hpdv3 import hpdv3
from suasion.evaluation.protocols.hpsv2_imagereward import hpsv2_imagereward
from suasion.evaluation.protocols.imagereward import imagereward
from suasion.evaluation.protocols.mmrb2 import mmrb2
from suasion.evaluation.protocols.pairs import pairs
from suasion.evaluation.protocols.pickapic import pickapic

__all__ = ["JUDGED", "PROTOCOLS", "Score", "from_predictions", "from_ranking"]

PROTOCOLS: dict[str, Callable[[pl.DataFrame, pl.DataFrame], Score]] = {
    "pairs": pairs,
    "imagereward": imagereward,
    "hpsv2_imagereward": hpsv2_imagereward,
    "hpdv2": hpdv2,
    "hpdv3": hpdv3,
    "pickapic": pickapic,
    "genai_bench": genai_bench,
    "mmrb2": mmrb2,
}
