"""What the votes themselves say can be reached: references for accuracy that need no model.

Always the first image, always the generator that won most in training, and one held-out rater against all the others.
"""

import polars as pl

from suasion.evaluation.bootstrap import Estimate, bootstrap
from suasion.records import EVALUATED


def references(
    pairs: pl.DataFrame, votes: pl.DataFrame, *, resamples: int, seed: int
) -> dict[str, dict[str, Estimate]]:
    """Per reference and split an estimate of accuracy on decided pairs; null where the data do not say.

    `always_a` is the share of pairs whose first-listed image is preferred; `majority_generator` prefers the generator
    with the higher share of wins on training pairs (half on equal shares); `held_out_rater` is how often one rater's
    decided vote is what the majority of the other raters on that pair says (pairs where they are even are left out).
    """
    decided = pairs.filter(pl.col("label") != "tie")
    tables = {
        "always_a": decided.with_columns(right=(pl.col("label") == "a").cast(pl.Float64)),
        "majority_generator": _by_generator(decided),
        "held_out_rater": _by_rater(decided, votes),
    }
    return {
        name: {
            split: bootstrap(table.filter(pl.col("split") == split), "right", resamples=resamples, seed=seed)
            for split in EVALUATED
        }
        for name, table in tables.items()
    }


def _by_generator(decided: pl.DataFrame) -> pl.DataFrame:
    train = decided.filter(
        (pl.col("split") == "train") & pl.col("model_a").is_not_null() & pl.col("model_b").is_not_null()
    )
    sides = [
        train.select(generator=f"model_{side}", won=(pl.col("label") == side).cast(pl.Float64)) for side in ("a", "b")
    ]
    wins = pl.concat(sides).group_by("generator").agg(share=pl.col("won").mean())
    shares = decided.join(wins, left_on="model_a", right_on="generator", how="left").join(
        wins, left_on="model_b", right_on="generator", how="left", suffix="_b"
    )
    for_a = (
        pl.when(pl.col("share") == pl.col("share_b"))
        .then(0.5)
        .otherwise((pl.col("share") > pl.col("share_b")).cast(pl.Float64))
    )
    return shares.with_columns(right=pl.when(pl.col("label") == "a").then(for_a).otherwise(1 - for_a))


def _by_rater(decided: pl.DataFrame, votes: pl.DataFrame) -> pl.DataFrame:
    """One row per pair: the share of its raters who agree with the majority of the others."""
    cast = votes.filter(pl.col("choice").is_in(["a", "b"]) & pl.col("annotator_id").is_not_null())
    cast = cast.join(decided.select("pair_id", "split", pair_a="image_a"), on="pair_id")
    for_a = (pl.col("choice") == "a") == (
        pl.col("image_a") == pl.col("pair_a")
    )  # some saw the pair the other way round
    side = pl.when(for_a).then(1).otherwise(-1)
    cast = cast.with_columns(side=side).with_columns(others=pl.col("side").sum().over("pair_id") - pl.col("side"))
    judged = cast.filter(pl.col("others") != 0).with_columns(
        agrees=((pl.col("others") > 0) == (pl.col("side") > 0)).cast(pl.Float64)
    )
    return judged.group_by("pair_id", "prompt_id", "split").agg(right=pl.col("agrees").mean()).sort("pair_id")
