"""What is known of each voter: how many votes, how reliable, which side, how fast, and whether all of it is left out."""

import numpy as np
import polars as pl

from suasion.params import VoterRules
from suasion.records import VOTER

SITTING = 600.0
"""Seconds without a vote after which the next one begins another sitting; the pause says nothing of speed."""


def describe(
    names: pl.Series,
    *,
    voter: np.ndarray,
    left: np.ndarray,
    decided: np.ndarray,
    accuracy: np.ndarray,
    seconds: np.ndarray,
    rules: VoterRules,
) -> pl.DataFrame:
    """A row of `records.VOTER` for each of `names` (v,), which the numbers `voter` (n,) of the votes stand for.

    `left` (n,) bool: for the image that was shown as A; `decided` (n,) bool: no tie. `accuracy` (v,) as estimated,
    `seconds` (v,) as of `seconds_between`.
    """
    size = len(names)
    n_votes = np.bincount(voter, minlength=size)
    n_decided = np.bincount(voter[decided], minlength=size)
    n_left = np.bincount(voter[decided & left], minlength=size)
    table = pl.DataFrame(
        {
            "annotator_id": names,
            "n_votes": n_votes,
            "n_decided": n_decided,
            "accuracy": np.round(accuracy, 9),
            "left_share": pl.Series(n_left / np.maximum(n_decided, 1)).set(pl.Series(n_decided == 0), None),
            "tie_rate": (n_votes - n_decided) / np.maximum(n_votes, 1),
            "seconds": pl.Series(seconds).fill_nan(None),
        }
    )
    side = pl.max_horizontal("left_share", 1 - pl.col("left_share"))
    flag = (
        pl.when(pl.col("n_decided") < rules.min_votes)
        .then(None)
        .when(side > rules.max_side_share)
        .then(pl.lit("one_side"))
        .when(pl.col("accuracy") < rules.min_accuracy)
        .then(pl.lit("low_accuracy"))
        .when(pl.col("seconds") < rules.min_seconds)
        .then(pl.lit("too_fast"))
    )
    return (
        table.with_columns(flag=flag.cast(pl.String))
        .with_columns(flagged=pl.col("flag").is_not_null())
        .select(VOTER.names())
    )


def seconds_between(voter: np.ndarray, voted_at: pl.Series, size: int) -> np.ndarray:
    """Median seconds (size,) from a voter's vote to the next of the same sitting; NaN where there are none.

    `voter` (n,) int numbers the voter of each vote; numbers from `size` on are of nobody.
    """
    known = voted_at.is_not_null().to_numpy() & (voter < size)
    medians = np.full(size, np.nan)
    if known.any():
        time = voted_at.dt.epoch("ms").filter(pl.Series(known)).to_numpy()
        who, time = voter[known].astype(np.int64), time - time.min()
        span = int(time.max()) + 1
        order = np.sort(who * span + time)  # sorting one number is faster than sorting by two
        who, time = order // span, order % span
        gap, same = np.diff(time), np.diff(who) == 0
        usable = same & (gap <= 1000 * SITTING)
        who, gap = who[1:][usable], gap[usable]
        span = int(1000 * SITTING) + 1
        order = np.sort(who * span + gap)
        who, gap = order // span, order % span
        count = np.bincount(who, minlength=size)
        start = np.cumsum(count) - count
        some = count > 0
        low, high = start + (count - 1) // 2, start + count // 2
        medians[some] = (gap[low[some]] + gap[high[some]]) / 2000
    return medians
