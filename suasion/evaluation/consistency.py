"""What several sampled answers to one pair are worth: the majority of k of them, for k = 1, 2, 4, 8, 16.

Which k of a pair's answers vote is not drawn but counted: the expected result over all ways to take k of them without putting
any back (the multivariate hypergeometric distribution). Answers of both orders vote together, so a lean to one
side cancels. Given up: weighing votes by how sure an answer is.
"""

import functools
import math

import polars as pl

from suasion.evaluation.bootstrap import Estimate, bootstrap

VOTERS = (1, 2, 4, 8, 16)


@functools.cache
def majority(right: int, wrong: int, unparsed: int, k: int) -> float | None:
    """Expected points of the majority of `k` of a pair's answers, of which so many are right, wrong, or do not parse.

    A point where more are right than wrong, half a point where as many are, none where no answer among the k parses. None
    where there are fewer than `k` answers.
    """
    total = right + wrong + unparsed
    if total < k:
        return None
    points = 0.0
    for yes in range(min(right, k) + 1):
        for no in range(min(wrong, yes, k - yes) + 1):
            ways = math.comb(right, yes) * math.comb(wrong, no) * math.comb(unparsed, k - yes - no)
            points += ways * (1.0 if yes > no else 0.5 if yes else 0.0)
    return points / math.comb(total, k)


def self_consistency(sampled: pl.DataFrame, *, resamples: int, seed: int) -> dict[str, Estimate]:
    """For `records.SAMPLED` rows of one model and split, by `k`, the estimate of the majority's accuracy on decided pairs."""
    pairs = (
        sampled.filter(pl.col("label") != "tie")
        .group_by("prompt_id", "pair_id")
        .agg(
            right=(pl.col("choice") == pl.col("label")).sum(),  # null, where it does not parse, is neither
            wrong=(pl.col("choice") != pl.col("label")).sum(),
            unparsed=pl.col("choice").is_null().sum(),
        )
        .sort("pair_id")
    )
    counts = list(zip(pairs["right"], pairs["wrong"], pairs["unparsed"], strict=True))
    return {
        str(k): bootstrap(
            pairs.with_columns(points=pl.Series([majority(*count, k) for count in counts], dtype=pl.Float64)),
            "points",
            resamples=resamples,
            seed=seed,
        )
        for k in VOTERS
    }
