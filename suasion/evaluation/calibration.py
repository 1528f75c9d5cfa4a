"""Does a model know when it is right: Brier score, calibration error, and what it would get right if it might decline.

A pair's probability of A is the mean over both orders; only decided pairs count, and of them those of which a completion
parsed. The chosen side is the likelier one. Given up: calibrating the models; this says how far they are from it.
"""

import numpy as np
import polars as pl

from suasion.evaluation.bootstrap import Estimate, bootstrap, bootstrap_sums

BINS = 10  # of the chosen side's probability, equal widths from 0.5 to 1
COVERAGES = tuple(step / 20 for step in range(1, 21))


def calibrated(pairs: pl.DataFrame) -> pl.DataFrame:
    """Rows of `ties.probabilities` that are decided and have `p`, with `brier`, `confidence`, `right` and `bin`.

    `brier` is (p - 1)^2 where A is the label, else p^2; `confidence` is the chosen side's probability; `right` is whether it is
    the label, a half where neither is likelier.
    """
    of_label = pl.when(pl.col("label") == "a").then(pl.col("p")).otherwise(1 - pl.col("p"))
    confidence = 0.5 + (pl.col("p") - 0.5).abs()
    right = pl.when(of_label == 0.5).then(0.5).otherwise((of_label > 0.5).cast(pl.Float64))
    return pairs.filter((pl.col("label") != "tie") & pl.col("p").is_not_null()).with_columns(
        brier=(1 - of_label) ** 2,
        confidence=confidence,
        right=right,
        bin=((confidence - 0.5) * 2 * BINS).floor().cast(pl.Int64).clip(0, BINS - 1),
    )


def measure_calibration(pairs: pl.DataFrame, *, resamples: int, seed: int) -> dict[str, Estimate]:
    """`brier` and `ece` of `calibrated` rows.

    `ece` is the mean over pairs of the distance, in the pair's bin, between mean confidence and share of right answers. It is
    never negative, so its resamples lie a little above it, and so does its interval.
    """
    gap = (pairs["right"] - pairs["confidence"]).to_numpy()
    columns = np.column_stack([gap[:, None] * (pairs["bin"].to_numpy()[:, None] == np.arange(BINS)), np.ones(len(gap))])
    [ece] = bootstrap_sums(pairs, columns, _ece, resamples=resamples, seed=seed)
    return {"brier": bootstrap(pairs, "brier", resamples=resamples, seed=seed), "ece": ece}


def _ece(sums: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(sums[..., :BINS]).sum(axis=-1, keepdims=True) / sums[..., BINS:])


def calibration_table(pairs: pl.DataFrame) -> pl.DataFrame:
    """Per bin of `calibrated` rows that has any: mean `confidence`, `accuracy` and `n`."""
    return (
        pairs.group_by("bin")
        .agg(confidence=pl.col("confidence").mean(), accuracy=pl.col("right").mean(), n=pl.len().cast(pl.Int64))
        .sort("bin")
        .drop("bin")
    )


def abstention(pairs: pl.DataFrame, *, resamples: int, seed: int) -> pl.DataFrame:
    """Accuracy on the most confident share of pairs: `coverage`, `accuracy`, `low`, `high`.

    `pairs` has one row per pair with `prompt_id`, `p` and `accuracy` (as in `metrics.json`: at full coverage it is that).
    Pairs without `p` come last. Of pairs that are equally sure the share that fits is taken of each. In the resamples the
    most confident pairs are those of the whole, not chosen anew.
    """
    if pairs.is_empty():
        return pl.DataFrame(schema=dict.fromkeys(("coverage", "accuracy", "low", "high"), pl.Float64))
    margin = (pairs["p"] - 0.5).abs().fill_null(-1.0).to_numpy()
    _, level, count = np.unique(-margin, return_inverse=True, return_counts=True)  # the surest first
    before = np.cumsum(count) - count
    taken = np.array(COVERAGES)[:, None] * len(margin)
    weight = np.clip((taken - before) / count, 0, 1)[:, level].T  # (pairs, coverages)
    columns = np.hstack([weight * pairs["accuracy"].to_numpy()[:, None], weight])
    size = len(COVERAGES)
    found = bootstrap_sums(pairs, columns, lambda s: s[..., :size] / s[..., size:], resamples=resamples, seed=seed)
    rows = [
        {"coverage": coverage, "accuracy": one["value"], "low": one["low"], "high": one["high"]}
        for coverage, one in zip(COVERAGES, found, strict=True)
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("coverage", "accuracy", "low", "high"), pl.Float64))
