"""Multimodal RewardBench 2 (arXiv 2512.16899): both orders are asked, and each answer that there is counts once.

Source: `compute_task_accuracy` in `evaluate/compute_scores/compute_accuracy.py` of facebookresearch/MMRB2. The answers of both
orders go into one pot; a missing one is left out of what is divided by, so a model that answers only when it is sure gains.
Every pair there has a preferred response; here ties are left out.
"""

import polars as pl

from suasion.evaluation.protocols._table import Score, decided, mean


def mmrb2(judged: pl.DataFrame, tuning: pl.DataFrame) -> Score:
    """Share of the answers, over both orders, that are the label; `n` counts answers."""
    rows = decided(judged)
    answers = pl.concat([rows.select("label", answer=order) for order in ("ab", "ba")]).drop_nulls("answer")
    return mean(answers.with_columns(right=(pl.col("answer") == pl.col("label")).cast(pl.Float64)), "right")
