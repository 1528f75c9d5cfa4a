"""All numbers of `metrics.json`: models on held-out pairs, pairs that nobody could decide, and what votes themselves reach."""

from typing import Any

import polars as pl

from suasion.evaluation.metrics import measure
from suasion.evaluation.references import references
from suasion.evaluation.ties import measure_ties


def measure_all(
    predictions: pl.DataFrame, pairs: pl.DataFrame, votes: pl.DataFrame, *, resamples: int, seed: int
) -> dict[str, Any]:
    """What `metrics.json` holds, for rows of `records.PREDICTION`, `PAIR` and `VOTE`."""
    metrics = measure(predictions, resamples=resamples, seed=seed)
    for name in predictions["model"].unique().sort():
        of_model = predictions.filter(pl.col("model") == name)
        metrics[name]["ties"] = measure_ties(of_model, resamples=resamples, seed=seed)
    metrics["references"] = references(pairs, votes, resamples=resamples, seed=seed)
    return metrics
