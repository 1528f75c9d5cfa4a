"""HPDv2 (arXiv 2306.09341): per prompt 1 - discordant / (n (n - 1) / 2), then the mean over prompts.

Source: `inversion_score` in `hpsv2/src/training/train.py` and `evaluate_rank` in `hpsv2/evaluation.py` of tgxs002/HPSv2. Only a
pair that model and people order the other way is discordant, so a pair with tied labels is right whatever the model says.

What is different here: a prompt counts the pairs that there are, which is n (n - 1) / 2 where people ranked all n images. The
repository sorts scores, so equal ones fall one way or the other by their place; here they are half discordant, which is the
mean of both ways. There is no answer that does not parse in a ranking by scores; here it is discordant, on tied labels too.
"""

import polars as pl

from suasion.evaluation.protocols._table import TIES, Score, mean_over_prompts


def hpdv2(judged: pl.DataFrame, tuning: pl.DataFrame) -> Score:
    """Mean over prompts of one minus the share of discordant pairs; `n` counts prompts."""
    preference = pl.col("preference")
    concordant = (
        pl.when(preference.is_null())
        .then(0.0)
        .when(pl.col("label").is_in(TIES))
        .then(1.0)
        .when(preference == 0)
        .then(0.5)
        .otherwise(((preference > 0) == (pl.col("label") == "a")).cast(pl.Float64))
    )
    return mean_over_prompts(judged.with_columns(concordant=concordant), "concordant")
