"""ImageReward (arXiv 2304.05977): all strict pairs of all prompts in one pot; equal scores are wrong.

Source: `acc` in `test.py` of the repository THUDM/ImageReward. Of every ranking all pairs are taken; tied labels are skipped;
a pair is right only where the better image has the higher score; right over all. A prompt with more images weighs more.
"""

import polars as pl

from suasion.evaluation.protocols._table import Score, decided, mean


def imagereward(judged: pl.DataFrame, tuning: pl.DataFrame) -> Score:
    """Share of the strict pairs that are right; `n` counts pairs."""
    return mean(decided(judged), "right")
