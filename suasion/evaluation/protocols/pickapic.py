"""Pick-a-Pic (arXiv 2305.01569): three answers, half a point where exactly one of label and model is a tie, one pair a prompt.

Source: `trainer/scripts/eval_preference_predictor.py` of yuvalkirstain/PickScore. A model says "tie" where the two
probabilities differ by at most a threshold: of 0, 0.1, ... 1 the first that scores best on the split `validation_unique`, then
held on `test_unique`. Those splits have one example of each prompt (the paper, on its data: "exactly one example for each
prompt"); ours take the one whose name has the smallest hash, of validation and of test pairs. (`CLIPTask.evaluate` of the same
repository, used while training, never says "tie": not this.) An answer that does not parse scores 0, on a tie too.
"""

from hashlib import sha256

import numpy as np
import polars as pl

from suasion.evaluation.protocols._table import TIES, Score

THRESHOLDS = tuple(step / 10 for step in range(11))


def pickapic(judged: pl.DataFrame, tuning: pl.DataFrame) -> Score:
    """Mean points of the unique pairs, with the threshold that is best on those of `tuning`; `n` counts pairs."""
    tried, test = unique(tuning), unique(judged)
    best = max(THRESHOLDS, key=lambda threshold: points(tried, threshold).sum())
    found = points(test, best)
    return Score(float(found.mean()) if len(found) else None, len(found))


def unique(judged: pl.DataFrame) -> pl.DataFrame:
    """One pair of each prompt, whatever its label."""
    place = [sha256(name.encode()).hexdigest() for name in judged["pair_id"]]
    hashed = judged.with_columns(place=pl.Series(place, dtype=pl.String))
    return hashed.sort("place").unique("prompt_id", keep="first", maintain_order=True)


def points(judged: pl.DataFrame, threshold: float) -> np.ndarray:
    """1.0, 0.5 or 0.0 of every pair, (n,) float64."""
    preference = judged["preference"].to_numpy()  # null is NaN, and no comparison with it is true
    tied = judged["label"].is_in(TIES).to_numpy()
    sign = np.where((judged["label"] == "a").to_numpy(), 1.0, -1.0)
    says_tie = np.abs(preference) <= threshold
    right = np.where(tied, says_tie, ~says_tie & (preference * sign > 0))
    half = ~np.isnan(preference) & (tied != says_tie)
    return np.where(half, 0.5, right.astype(np.float64))
