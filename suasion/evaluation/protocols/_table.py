"""The table that every protocol counts over: one row per pair, with people's label and what a model makes of it.

A model that scores images one by one and a reasoner that is asked about pairs end in the same columns, so that one set of
predictions can be counted by every rule. Given up: single voters; the label is what a source says of a pair.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

JUDGED = pl.Schema(
    {
        "pair_id": pl.String,
        "prompt_id": pl.String,
        "label": pl.String,  # a, b, tie or both_bad
        "preference": pl.Float64,  # -1..1: probability of A minus that of B; 0 is neither, null no answer
        "ab": pl.String,  # the answer with A shown first: a, b or tie; null where there is none
        "ba": pl.String,  # the answer with B shown first
    }
)
TIES = ("tie", "both_bad")


class Score(NamedTuple):
    """`value` is a share, or None where there is nothing to count; `n` is what it is a mean over."""

    value: float | None
    n: int


def from_predictions(predictions: pl.DataFrame) -> pl.DataFrame:
    """`JUDGED` rows of one model's `records.PREDICTION` rows: the preference is the mean over the orders that parse."""
    return (
        predictions.sort("pair_id", "order")
        .group_by("pair_id", "prompt_id", "label", maintain_order=True)
        .agg(
            preference=2 * pl.col("p_a").mean() - 1,
            ab=pl.col("choice").filter(pl.col("order") == "ab").first(),
            ba=pl.col("choice").filter(pl.col("order") == "ba").first(),
        )
        .select(JUDGED.names())
    )


def from_ranking(prompt_id: str, ranking: Sequence[float], scores: Sequence[float]) -> pl.DataFrame:
    """`JUDGED` rows of all pairs of a prompt's images: people's `ranking` (1 is best, equal is a tie), a model's `scores`.

    The earlier-listed image of a pair is A. A score (higher is better) becomes a probability as in Bradley and Terry.
    """
    rows = []
    for i, j in itertools.combinations(range(len(ranking)), 2):
        difference = float(np.tanh((scores[i] - scores[j]) / 2))  # softmax of the two scores, first minus second
        answer = "a" if scores[i] > scores[j] else "b" if scores[i] < scores[j] else "tie"
        label = "a" if ranking[i] < ranking[j] else "b" if ranking[i] > ranking[j] else "tie"
        rows.append((f"{prompt_id}/{i}/{j}", prompt_id, label, difference, answer, answer))
    return pl.DataFrame(rows, schema=JUDGED, orient="row")


def decided(judged: pl.DataFrame) -> pl.DataFrame:
    """The pairs with a preferred image, with `right`: 1.0 where the model prefers it too, 0.0 else, also for neither."""
    side = pl.when(pl.col("preference") > 0).then(pl.lit("a")).when(pl.col("preference") < 0).then(pl.lit("b"))
    return judged.filter(~pl.col("label").is_in(TIES)).with_columns(
        right=(side == pl.col("label")).fill_null(value=False).cast(pl.Float64)
    )


def mean(rows: pl.DataFrame, column: str) -> Score:
    """The mean of `column` over rows."""
    return Score(float(rows[column].mean()) if rows.height else None, rows.height)  # type: ignore[arg-type]


def mean_over_prompts(rows: pl.DataFrame, column: str) -> Score:
    """The mean over prompts of each prompt's mean of `column`."""
    return mean(rows.group_by("prompt_id").agg(pl.col(column).mean()).sort("prompt_id"), column)
