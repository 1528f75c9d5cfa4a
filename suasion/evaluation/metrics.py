"""Numbers with intervals: accuracy, contradiction, fidelity, and the paired difference between two models.

Intervals are those of `suasion.evaluation.bootstrap`. A pair counts with the mean over its two orders of presentation.
"""

from typing import Any

import polars as pl
from scipy.stats import binomtest

from suasion.evaluation.bootstrap import bootstrap, paired
from suasion.records import EVALUATED

MEASURES = ("accuracy", "contradiction", "fidelity", "parsed", "flip", "words")


def measure(predictions: pl.DataFrame, *, resamples: int, seed: int) -> dict[str, Any]:
    """All metrics of `records.PREDICTION` rows: per model, split and measure an estimate `value, low, high, n`.

    Pairs that people could not decide are left out here: `suasion.evaluation.ties` is about them.
    `paired` holds differences of accuracy (released minus another model) on the same pairs and the same resamples, and
    how many pairs changed sides (`mcnemar`).
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
            | {"mcnemar": mcnemar(_of(values, "released", split), _of(values, other, split))}
            for split in EVALUATED
        }
        for other in models
        if other != "released"
    }
    return result


def per_pair(predictions: pl.DataFrame) -> pl.DataFrame:
    """One row per model and pair: each of `MEASURES` as the mean over the orders, null where it is not defined.

    `parsed` is the share of completions of the grammar, `flip` whether the choice changes with the order, `words` how long an
    explanation is.
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
            words=pl.col("explanation").str.count_matches(r"\S+").cast(pl.Float64).mean(),
        )
    )


def mcnemar(first: pl.DataFrame, second: pl.DataFrame) -> dict[str, float | int | None]:
    """Pairs that changed sides: on how many `first` is `better` and on how many `worse` than `second`, and the exact `p`.

    `p` is how likely a split at least as uneven is if either way is as likely (two-sided binomial test; McNemar 1947).
    A pair with a half counts by whether it rose or fell. Given up: that pairs of one prompt hang together, which the
    interval of the paired difference minds; without pairs `p` is null.
    """
    both = first.join(second, on="pair_id", suffix="_second", validate="1:1")
    better = int((both["accuracy"] > both["accuracy_second"]).sum())
    worse = int((both["accuracy"] < both["accuracy_second"]).sum())
    p = binomtest(better, better + worse).pvalue if better + worse else 1.0
    return {"better": better, "worse": worse, "p": float(f"{p:.6g}") if both.height else None}


def _of(values: pl.DataFrame, model: str, split: str) -> pl.DataFrame:
    return values.filter((pl.col("model") == model) & (pl.col("split") == split))
