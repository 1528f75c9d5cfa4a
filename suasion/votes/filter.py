"""From votes to pairs: who is reliable, what each pair's label is, which pairs are worth training on, in which split.

Everything that leaves says why, in a table of drops. Given up here: near-duplicate images and leaks between splits by
image; a pair's split follows from its prompt alone.
"""

from typing import Any, NamedTuple

import numpy as np
import polars as pl

from suasion.errors import SuasionError
from suasion.params import Filter
from suasion.records import DROP, PAIR, VOTER
from suasion.votes.reliability import one_coin
from suasion.votes.splits import split_of_prompts

MIN_FOR_FLAG = 20  # decided votes before a voter can be called unreliable
LEFT_FLAG = 0.95  # of a voter's decided votes for one side
ACCURACY_FLAG = 0.55


class Filtered(NamedTuple):
    """What the filter stage publishes: tables of `PAIR`, `VOTER` and `DROP`, and the counts of the report."""

    pairs: pl.DataFrame
    voters: pl.DataFrame
    drops: pl.DataFrame
    summary: dict[str, Any]


def filter_votes(votes: pl.DataFrame, settings: Filter, *, seed: int) -> Filtered:
    """Weigh `votes` (`records.VOTE`) and cut them down to labelled pairs.

    Raises:
        SuasionError: no pair is left, or no pair of the train split.
    """
    drops: list[pl.DataFrame] = []
    counted, repeated = _last_votes(votes)
    drops.append(_drop(repeated, "vote_id", "repeated_vote", "a later vote of the same person on the same pair counts"))
    voters = _estimate_voters(counted)
    flagged = voters.filter(pl.col("flagged"))["annotator_id"]
    of_flagged = pl.col("annotator_id").is_in(flagged.to_list()).fill_null(value=False)
    drops.append(_drop(counted.filter(of_flagged), "vote_id", "voter_flagged", pl.col("annotator_id")))
    kept_votes = counted.filter(~of_flagged)
    pairs = _label(kept_votes)
    lost = counted.filter(~pl.col("pair_id").is_in(pairs["pair_id"].to_list())).unique("pair_id").sort("pair_id")
    drops.append(_drop(lost, "pair_id", "no_vote_left", "every vote was of a flagged voter"))
    pairs = pairs.join(split_of_prompts(pairs, settings.splits, seed=seed), on="prompt_id", validate="m:1")
    for reason, detail, condition in _rules(settings):
        drops.append(_drop(pairs.filter(condition), "pair_id", reason, detail))
        pairs = pairs.filter(~condition)
    if pairs.is_empty() or pairs.filter(pl.col("split") == "train").is_empty():
        reasons = pl.concat(drops)["reason"].value_counts(sort=True).rows()
        raise SuasionError(
            f"no {'pair' if pairs.is_empty() else 'training pair'} is left; dropped: "
            + ", ".join(f"{count} {reason}" for reason, count in reasons),
            where="params.yaml: filter",
            do="loosen what drops the most, or bring more votes",
        )
    pairs = pairs.select(PAIR.names()).sort("pair_id")
    table = pl.concat(drops).sort("reason", "id")
    return Filtered(pairs, voters, table, _summary(votes, kept_votes, counted, pairs, voters, table))


def _last_votes(votes: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """One vote per known person and pair, the last by `voted_at`, then `vote_id`; and the ones before."""
    order = votes.sort("voted_at", "vote_id", nulls_last=False)
    known = order.filter(pl.col("annotator_id").is_not_null())
    last = known.unique(["pair_id", "annotator_id"], keep="last", maintain_order=True)
    before = known.join(last, on="vote_id", how="anti")
    return pl.concat([last, order.filter(pl.col("annotator_id").is_null())]).sort("vote_id"), before.sort("vote_id")


def _decided(votes: pl.DataFrame) -> pl.DataFrame:
    return votes.filter(pl.col("choice").is_in(["a", "b"]))


def _fit(votes: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Reliability fitted to decided votes: (pair_id, p_a) and (annotator_id, accuracy).

    All votes whose voter is not known count as one voter's.
    """
    decided = _decided(votes).with_columns(who=pl.col("annotator_id").fill_null(""))
    pair_ids, who = decided["pair_id"].unique().sort(), decided["who"].unique().sort()
    index = decided.select(
        pair=pl.col("pair_id").replace_strict(pair_ids, range(len(pair_ids)), return_dtype=pl.Int64),
        voter=pl.col("who").replace_strict(who, range(len(who)), return_dtype=pl.Int64),
        chose_a=pl.col("choice") == "a",
        weight=pl.col("count") * pl.col("weight"),
    )
    types = {"pair": np.int64, "voter": np.int64, "chose_a": np.bool_, "weight": np.float64}
    found = one_coin(*(index[name].to_numpy().astype(kind) for name, kind in types.items()))
    return (
        pl.DataFrame({"pair_id": pair_ids, "p_a": found.p_a}),
        pl.DataFrame({"annotator_id": who, "accuracy": found.accuracy}),
    )


def _estimate_voters(votes: pl.DataFrame) -> pl.DataFrame:
    known = votes.filter(pl.col("annotator_id").is_not_null())
    decided = pl.col("choice").is_in(["a", "b"])
    counts = known.group_by("annotator_id").agg(
        n_votes=pl.len().cast(pl.Int64),
        n_decided=decided.sum(),
        left_share=(pl.col("choice") == "a").filter(decided).mean(),
        tie_rate=(pl.col("choice") == "tie").mean(),
    )
    _, accuracy = _fit(votes)
    table = counts.join(accuracy, on="annotator_id", how="left").with_columns(
        flagged=(pl.col("n_decided") >= MIN_FOR_FLAG)
        & (
            (pl.col("accuracy") < ACCURACY_FLAG)
            | (pl.col("left_share") > LEFT_FLAG)
            | (pl.col("left_share") < 1 - LEFT_FLAG)
        )
    )
    return table.select(VOTER.names()).sort("annotator_id")


def _label(votes: pl.DataFrame) -> pl.DataFrame:
    """Pairs with counts, posterior and label; a pair is a tie where ties are the most, or where the sides are even."""
    p_a, _ = _fit(votes)
    of = {choice: pl.col("count").filter(pl.col("choice") == choice).sum() for choice in ("a", "b", "tie", "both_bad")}
    first = [
        pl.col(name).first()
        for name in ("prompt_id", "prompt", "image_a", "image_b", "model_a", "model_b", "source", "source_split")
    ]
    pairs = (
        votes.sort("vote_id")
        .group_by("pair_id", maintain_order=True)
        .agg(
            *first,
            n_votes=pl.col("count").sum(),
            votes_a=of["a"],
            votes_b=of["b"],
            votes_tie=of["tie"] + of["both_bad"],
        )
    )
    pairs = pairs.join(p_a, on="pair_id", how="left").with_columns(pl.col("p_a").fill_null(0.5))
    a, b, tie = pl.col("votes_a"), pl.col("votes_b"), pl.col("votes_tie")
    label = pl.when((tie > pl.max_horizontal(a, b)) | (pl.col("p_a") == 0.5)).then(pl.lit("tie"))
    pairs = pairs.with_columns(
        label=label.when(pl.col("p_a") > 0.5).then(pl.lit("a")).otherwise(pl.lit("b")),
        tie_rate=tie / pl.col("n_votes"),
    )
    with_label = pl.when(pl.col("label") == "a").then(a).when(pl.col("label") == "b").then(b).otherwise(tie)
    decided = pl.when(pl.col("label") == "tie").then(pl.col("n_votes")).otherwise(a + b)
    return pairs.with_columns(agreement=with_label / decided).sort("pair_id")


def _rules(settings: Filter) -> list[tuple[str, Any, pl.Expr]]:
    """Reason, detail and condition of every pair that is dropped, in the order in which they are asked."""
    train, tie = pl.col("split") == "train", pl.col("label") == "tie"
    decided = pl.col("votes_a") + pl.col("votes_b")
    margin = (pl.col("p_a") - 0.5).abs()
    return [
        ("held_out", "of a split that no stage reads", pl.col("split") == "none"),
        (
            "prompt_too_long",
            pl.col("prompt").str.len_chars().cast(pl.String),
            pl.col("prompt").str.len_chars() > settings.max_prompt_chars,
        ),
        ("same_image", pl.col("image_a"), pl.col("image_a") == pl.col("image_b")),
        ("tie_in_train", "no preference to learn", train & tie),
        ("too_few_votes", decided.cast(pl.String), ~tie & (decided < settings.min_votes)),
        ("low_margin", pl.col("p_a").round(4).cast(pl.String), ~tie & (margin < settings.min_margin)),
    ]


def _drop(rows: pl.DataFrame, key: str, reason: str, detail: "str | pl.Expr") -> pl.DataFrame:
    said = pl.lit(detail) if isinstance(detail, str) else detail
    return rows.select(stage=pl.lit("filter"), id=pl.col(key), reason=pl.lit(reason), detail=said.cast(pl.String)).cast(
        dict(DROP)  # type: ignore[arg-type]  # a schema is a mapping of names to types
    )


def _summary(
    votes: pl.DataFrame,
    kept: pl.DataFrame,
    counted: pl.DataFrame,
    pairs: pl.DataFrame,
    voters: pl.DataFrame,
    drops: pl.DataFrame,
) -> dict[str, Any]:
    reasons = dict(drops["reason"].value_counts().sort("reason").rows())
    of_votes = sum(reasons.get(reason, 0) for reason in ("repeated_vote", "voter_flagged"))
    pairs_in = counted["pair_id"].n_unique()
    assert votes.height == kept.height + of_votes, "votes in = votes kept + votes dropped"
    assert pairs_in == pairs.height + drops.height - of_votes, "pairs in = pairs kept + pairs dropped"
    by_split = dict(pairs["split"].value_counts().rows())
    return {
        "votes_in": votes.height,
        "votes_kept": kept.height,
        "voters": voters.height,
        "voters_flagged": int(voters["flagged"].sum()),
        "pairs_in": pairs_in,
        "pairs_kept": pairs.height,
        "splits": {split: by_split.get(split, 0) for split in ("train", "val", "test", "ood")},
        "dropped": reasons,
        "mean_agreement": _mean(pairs["agreement"]),
        "mean_tie_rate": _mean(pairs["tie_rate"]),
    }


def _mean(values: pl.Series) -> float | None:
    mean = values.mean()
    return round(float(mean), 6) if isinstance(mean, int | float) and np.isfinite(mean) else None
