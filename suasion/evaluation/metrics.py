"""Numbers with intervals: accuracy, contradiction, fidelity, and the paired difference between two models.

Intervals are 95% percentile bootstraps that draw prompts, not pairs: pairs of one prompt stand and fall together. A pair
counts with the mean over its two orders of presentation. Given up: intervals over seeds; one run has one seed.
"""

from typing import Any

import numpy as np
import polars as pl

from suasion.records import EVALUATED

MEASURES = ("accuracy", "contradiction", "fidelity", "parsed", "flip")
Estimate = dict[str, float | int | None]


def measure(predictions: pl.DataFrame, *, resamples: int, seed: int) -> dict[str, Any]:
    """All metrics of `records.PREDICTION` rows: per model, split and measure an estimate `value, low, high, n`.

    Pairs that people could not decide are left out here: `suasion.evaluation.ties` is about them.
    `paired` holds differences of accuracy (released minus another model) on the same pairs and the same resamples.
    `n` counts pairs; where nothing can be measured the numbers are null and n is 0.
    """
    values = per_pair(predictions.filter(pl.col("label") != "tie"))
    models = [name for name in ("warmstart", "released", "sft") if name in predictions["model"].unique()]
    result: dict[str, Any] = {
        model: {
            split: {
                name: bootstrap(_of(values, model, split), name, resamples=resamples, seed=seed) for name in MEASURES
            }
            for split in EVALUATED
        }
        for model in models
    }
    result["paired"] = {
        f"released_vs_{other}": {
            split: {
                name: paired(
                    _of(values, "released", split), _of(values, other, split), name, resamples=resamples, seed=seed
                )
                for name in ("accuracy", "fidelity", "contradiction")
            }
            for split in EVALUATED
        }
        for other in models
        if other != "released"
    }
    return result


def per_pair(predictions: pl.DataFrame) -> pl.DataFrame:
    """One row per model and pair: each of `MEASURES` as the mean over the orders, null where it is not defined.

    `parsed` is the share of completions of the grammar, `flip` whether the choice changes with the order.
    """
    both = pl.col("choice").is_not_null().all() & (pl.col("choice").len() == 2)
    return (
        predictions.sort("model", "pair_id", "order")
        .group_by("model", "split", "prompt_id", "pair_id", maintain_order=True)
        .agg(
            accuracy=pl.col("correct").cast(pl.Float64).mean(),
            contradiction=pl.col("contradiction").cast(pl.Float64).mean(),
            fidelity=pl.col("faithful").cast(pl.Float64).mean(),
            parsed=pl.col("choice").is_not_null().cast(pl.Float64).mean(),
            flip=pl.when(both).then((pl.col("choice").n_unique() > 1).cast(pl.Float64)),
        )
    )


def bootstrap(rows: pl.DataFrame, name: str, *, resamples: int, seed: int) -> Estimate:
    """Mean of column `name` over pairs, with its 95% interval from resampled prompts (column `prompt_id`)."""
    rows = rows.filter(pl.col(name).is_not_null())
    if rows.is_empty():
        return {"value": None, "low": None, "high": None, "n": 0}
    sums = rows.group_by("prompt_id").agg(total=pl.col(name).sum(), size=pl.len()).sort("prompt_id")
    total, size = sums["total"].to_numpy(), sums["size"].to_numpy().astype(np.float64)
    drawn = _draws(len(total), resamples, seed)
    means = (drawn @ total) / (drawn @ size)
    low, high = np.percentile(means, [2.5, 97.5])
    return {"value": _round(total.sum() / size.sum()), "low": _round(low), "high": _round(high), "n": rows.height}


def paired(first: pl.DataFrame, second: pl.DataFrame, name: str, *, resamples: int, seed: int) -> Estimate:
    """Mean difference of column `name`, `first` minus `second`, over the pairs that both have, with its interval."""
    both = first.join(second, on="pair_id", suffix="_second", validate="1:1")
    difference = both.with_columns((pl.col(name) - pl.col(f"{name}_second")).alias("difference"))
    return bootstrap(difference, "difference", resamples=resamples, seed=seed)


def _draws(prompts: int, resamples: int, seed: int) -> np.ndarray:
    """How often each prompt is drawn, (resamples, prompts) float64; the same for equal arguments, so pairs match."""
    return np.random.default_rng(seed).multinomial(prompts, np.full(prompts, 1 / prompts), size=resamples).astype(float)


def _of(values: pl.DataFrame, model: str, split: str) -> pl.DataFrame:
    return values.filter((pl.col("model") == model) & (pl.col("split") == split))


def _round(value: float) -> float:
    return round(float(value), 6)
