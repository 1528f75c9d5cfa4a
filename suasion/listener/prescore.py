"""Pre-scoring: what the listener gives each pair before anyone explains anything, and how much the order moves it."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from suasion.listener.local import Hearing, LocalListener
from suasion.progress import progress
from suasion.records import PRESCORE
from suasion.shards.reader import Sample


def prescore(samples: Sequence[Sample], listener: LocalListener) -> pl.DataFrame:
    """A row of `PRESCORE` for every sample, in the samples' order."""
    size = listener.batch_size
    starts = range(0, len(samples), size)
    told: list[np.ndarray] = []
    for start in progress(starts, total=len(starts), label="listener's prior"):
        batch = samples[start : start + size]
        told.append(listener.score([Hearing(s.pair["prompt"], s.open_a(), s.open_b(), None) for s in batch]))
    scores = np.concatenate(told) if told else np.empty((0, 2))
    rows = {
        "pair_id": [sample.pair["pair_id"] for sample in samples],
        "split": [sample.pair["split"] for sample in samples],
        "p_a_prior": scores.mean(axis=1),
        # Column 0 showed A first, column 1 showed it second: half the difference is what being first is worth.
        "position_bias": (scores[:, 0] - scores[:, 1]) / 2,
    }
    return pl.DataFrame(rows, schema=PRESCORE)


def summarise(scores: pl.DataFrame, labels: Sequence[str]) -> dict[str, float | int | None]:
    """Pairs, the prior's accuracy against `labels` (ties left out), and the mean position bias; null without pairs."""
    decided = scores.with_columns(label=pl.Series(labels, dtype=pl.String)).filter(pl.col("label") != "tie")
    accuracy = decided.select(((pl.col("p_a_prior") > 0.5) == (pl.col("label") == "a")).mean()).item()
    return {
        "pairs": scores.height,
        "prior_accuracy": _rounded(accuracy),
        "position_bias": _rounded(scores["position_bias"].mean()),
    }


def _rounded(value: object) -> float | None:
    return round(value, 6) if isinstance(value, float) else None
