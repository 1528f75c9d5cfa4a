"""Pairs that people could not decide: does the model know them? A tie is predicted where its own probability is near a half.

Probability of a pair: the mean of `p_a` over both orders of presentation. The threshold is fitted on val, so numbers of
val are those of the fit; test and ood are not touched by it. `tie_aware` alone fits on what it measures, as its source
does. Given up: thresholds per source or per kind of image.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from suasion.evaluation.bootstrap import Estimate, bootstrap
from suasion.records import EVALUATED


def measure_ties(predictions: pl.DataFrame, *, resamples: int, seed: int) -> dict[str, Any]:
    """For `records.PREDICTION` rows of one model: the threshold, and per split what comes of it.

    `accuracy3` is an estimate over all pairs, decided or not, of naming the right one of a, b and tie; `tie_recall` is the
    share of the ties that are called ties, `tie_precision` the share of the pairs called ties that are (null where there
    is none to divide by), `n_ties` how many there are. A pair of which no completion parses is wrong.
    """
    pairs = probabilities(predictions)
    val = pairs.filter(pl.col("split") == "val")
    threshold = fit_threshold(val["p"].to_numpy(), val["label"].to_list())
    called = pl.Series("called", call(pairs["p"].to_numpy(), threshold), dtype=pl.String)
    pairs = pairs.with_columns(called, right=(called == pairs["label"]).fill_null(value=False).cast(pl.Float64))
    result: dict[str, Any] = {"threshold": threshold}
    for split in EVALUATED:
        rows = pairs.filter(pl.col("split") == split)
        tie, called_tie = rows["label"] == "tie", rows["called"].fill_null("") == "tie"
        both = int((tie & called_tie).sum())
        result[split] = {
            "accuracy3": bootstrap(rows, "right", resamples=resamples, seed=seed),
            "tie_recall": _share(both, int(tie.sum())),
            "tie_precision": _share(both, int(called_tie.sum())),
            "n_ties": int(tie.sum()),
        }
    return result


def tie_aware(pairs: pl.DataFrame, *, resamples: int, seed: int) -> Estimate:
    """Pairwise accuracy with ties of rows of `probabilities`: (concordant + tied in both) / all pairs, ties calibrated.

    Deutsch, Foster and Freitag 2023 (arXiv 2305.14324), `acc_eq`: a tie is predicted within the threshold that makes the number
    itself largest, so it flatters a little more than `accuracy3`, whose threshold is validation's. Pairs are one group, where
    the paper averages over groups; the threshold is not fitted anew in each resample. The source is `tau_optimization.py` of
    google-research/mt-metrics-eval. A pair of which no completion parses is wrong.
    """
    p = pairs["p"].to_numpy()
    called = pl.Series("called", call(p, fit_threshold(p, pairs["label"].to_list())), dtype=pl.String)
    right = (called == pairs["label"]).fill_null(value=False).cast(pl.Float64)
    return bootstrap(pairs.with_columns(right=right), "right", resamples=resamples, seed=seed)


def probabilities(predictions: pl.DataFrame) -> pl.DataFrame:
    """One row per pair: `split`, `prompt_id`, `pair_id`, `label` and `p`, the mean of the `p_a` there are, else null."""
    return (
        predictions.sort("pair_id", "order")
        .group_by("split", "prompt_id", "pair_id", "label", maintain_order=True)
        .agg(p=pl.col("p_a").mean())
    )


def call(p: np.ndarray, threshold: float) -> list[str | None]:
    """`tie` where |p - 0.5| is under the threshold, else the likelier side; null where p is not known, or names no side."""
    margin = np.abs(p - 0.5)
    names = np.select([margin < threshold, p > 0.5, p < 0.5], ["tie", "a", "b"], default="")  # comparing NaN is false
    return [name or None for name in names.tolist()]


def fit_threshold(p: np.ndarray, label: Sequence[str]) -> float:
    """The threshold on |p - 0.5| with which `call` is right most often; the smallest of equally good ones.

    `p` is (n,) float64 with NaN where unknown, `label` (n,) of a, b and tie. All thresholds that can differ are tried: 0
    (no ties), the middle between any two neighbouring margins, and one above the largest. O(n log n).
    """
    known = ~np.isnan(p)
    p, names = p[known], np.asarray(label, dtype=str)[known]
    margin = np.abs(p - 0.5)
    order = np.argsort(margin, kind="stable")
    tie = (names == "tie")[order]
    side = (np.where(p > 0.5, "a", np.where(p < 0.5, "b", "")) == names)[order]
    right = side.sum() + np.concatenate(
        [[0], np.cumsum(tie.astype(np.int64) - side)]
    )  # when the nearest k are called ties
    bounds = np.concatenate([[0.0], margin[order], [1.0]])
    low, high = bounds[:-1], bounds[1:]
    middle = np.where((low + high) / 2 > low, (low + high) / 2, high)  # between neighbouring floats there is no middle
    possible = low < high  # equal margins are called alike
    possible[0], middle[0] = True, 0.0
    return float(middle[possible][np.argmax(right[possible])])


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
