"""The project's own accuracy: decided pairs, the mean over both orders of presentation, what does not parse is wrong.

Source: `suasion.evaluation.metrics`; `{model}.test.accuracy` of `metrics.json` is this number. A model that always chooses the
image shown first gets a half, whatever the data.
"""

import polars as pl

from suasion.evaluation.protocols._table import Score, decided, mean


def pairs(judged: pl.DataFrame, tuning: pl.DataFrame) -> Score:
    """Mean over the strict pairs of the share of the two orders that are right; `n` counts pairs."""
    right = [(pl.col(order) == pl.col("label")).fill_null(value=False).cast(pl.Float64) for order in ("ab", "ba")]
    return mean(decided(judged).with_columns(share=(right[0] + right[1]) / 2), "share")
