"""HPDv3 (arXiv 2508.03789): pairs as they are listed, the better image first; right where its score is higher, equal is wrong.

Source: mode `pair` of `evaluate/evaluate.py` in the published package hpsv3 1.0.0; the same file of the repository
MizzenAI/HPSv3 and the paper's own words on it were not at hand. It prints how many scores are equal beside how many are right,
and divides by all. Ties are not in the data; in ours they are left out. So on one table of pairs this is ImageReward's number:
what differs is the data, not the rule. (Its mode `ranking` is a copy of ImageReward's `acc`.)
"""

import polars as pl

from suasion.evaluation.protocols._table import Score, decided, mean


def hpdv3(judged: pl.DataFrame, tuning: pl.DataFrame) -> Score:
    """Share of the strict pairs whose better image has the higher score; `n` counts pairs."""
    return mean(decided(judged), "right")
