"""Pre-scoring: what the listener gives each pair before anyone explains anything, and how much the order moves it."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import polars as pl

from suasion.listener.local import Hearing, LocalListener
from suasion.progress import progress
from suasion.records import PRESCORE
from suasion.shards import Sample, ShardDataset


def prescore(samples: Sequence[Sample] | ShardDataset, listener: LocalListener) -> pl.DataFrame:
    """A row of `PRESCORE` and its label for every sample, in the samples' order; a batch of them is in memory at a time."""
    size, rest = listener.batch_size, iter(samples)
    batches = iter(lambda: [*itertools.islice(rest, size)], [])
    told: list[np.ndarray] = []
    pairs: list[dict[str, object]] = []
    for batch in progress(batches, total=math.ceil(len(samples) / size), label="listener's prior"):
        told.append(listener.score([Hearing(s.pair["prompt"], s.open_a(), s.open_b(), None) for s in batch]))
        pairs += [sample.pair for sample in batch]
    scores = np.concatenate(told) if told else np.empty((0, 2))
    rows = {
        "pair_id": [pair["pair_id"] for pair in pairs],
        "split": [pair["split"] for pair in pairs],
        "p_a_prior": scores.mean(axis=1),
        # Column 0 showed A first, column 1 showed it second: half the difference is what being first is worth.
        "position_bias": (scores[:, 0] - scores[:, 1]) / 2,
    }
    labels = pl.Series("label", [pair["label"] for pair in pairs], dtype=pl.String)
    return pl.DataFrame(rows, schema=PRESCORE).with_columns(labels)


def summarise(scores: pl.DataFrame) -> dict[str, float | int | None]:
    """Pairs, the prior's accuracy against their labels (ties left out), and the mean position bias; null without pairs."""
    decided = scores.filter(pl.col("label") != "tie")
    accuracy = decided.select(((pl.col("p_a_prior") > 0.5) == (pl.col("label") == "a")).mean()).item()
    return {
        "pairs": scores.height,
        "prior_accuracy": _rounded(accuracy),
        "position_bias": _rounded(scores["position_bias"].mean()),
    }


def _rounded(value: object) -> float | None:
    return round(value, 6) if isinstance(value, float) else None
