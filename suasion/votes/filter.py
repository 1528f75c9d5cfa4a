"""From votes to pairs: who is reliable, what each pair's label is, which pairs are worth training on, in which split.

Everything that leaves says why, in a table of drops; rows in = kept + dropped is asserted. Votes are looked at as arrays of
numbers, strings only once a pair, so that a million votes take a second or two. Given up: labels that depend on the prompt
or the images themselves.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from suasion.errors import SuasionError
from suasion.params import Filter
from suasion.records import DROP, PAIR, SPLIT
from suasion.votes.agreement import krippendorff_alpha
from suasion.votes.cast import B, Cast, estimate, last_votes, number, tally
from suasion.votes.copies import cluster_images, shared_run
from suasion.votes.splits import assign, hanging_together, lock_copies
from suasion.votes.voters import describe, seconds_between

Tokens = Callable[[pl.DataFrame], "tuple[np.ndarray, np.ndarray]"]
"""From pairs with `width_a`, `height_a`, `width_b`, `height_b` to (over the budget, tokens), both (n,)."""


class Filtered(NamedTuple):
    """What the filter stage publishes: tables of `PAIR`, `VOTER` and `DROP`, and the counts of the report."""

    pairs: pl.DataFrame
    voters: pl.DataFrame
    drops: pl.DataFrame
    summary: dict[str, Any]


def filter_votes(
    votes: pl.DataFrame,
    settings: Filter,
    *,
    seed: int,
    images: pl.DataFrame,
    held_out: pl.DataFrame | None = None,
    locked: pl.DataFrame | None = None,
    tokens: Tokens | None = None,
) -> Filtered:
    """Weigh `votes` (`records.VOTE`) and cut them down to labelled pairs.

    `images` is the index of all images (`records.IMAGE`), `held_out` the evaluation sets (`records.HELD_OUT`), `locked` what
    earlier runs put in a split (`records.SPLIT`), `tokens` counts what a pair takes in front of the reasoner.

    Raises:
        SuasionError: no pair is left, or no pair of the train split; or what `suasion.votes.splits.assign` raises.
    """
    cast = number(votes)
    with ThreadPoolExecutor(1) as pool:  # copies of images and sittings of voters on the second core
        known_images = pool.submit(_images_of, cast.facts, images, settings, held_out)
        counted, repeated = last_votes(cast)
        pauses = pool.submit(seconds_between, counted.voter, counted.voted_at, len(counted.names))
        voters, p_a = _voters(counted, settings, pauses.result)
        flagged = np.append(voters["flagged"].to_numpy(), False)[counted.voter]
        kept = counted.only(~flagged) if flagged.any() else counted
        pairs = _with_images(_label(kept, settings, start=p_a), known_images.result())
        locked = pl.DataFrame(schema=SPLIT) if locked is None else lock_copies(locked, known_images.result())
    why = voters.select("annotator_id", why=pl.format("{}: {}", "annotator_id", "flag"))["why"]
    drops = [
        _dropped(repeated.vote_id, "repeated_vote", "a later vote of the same person on the same pair counts"),
        _dropped(counted.vote_id.filter(pl.Series(flagged)), "voter_flagged", why.gather(counted.voter[flagged])),
    ]
    of_votes = sum(table.height for table in drops)
    pairs_in = pairs.height
    pairs, refused, components = _choose(pairs, settings, seed, held_out, locked, tokens)
    table = pl.concat([*drops, *refused]).sort("reason", "id")
    _require_training(pairs, table)
    assert votes.height == len(kept.pair) + of_votes, "votes in = votes kept + votes dropped"
    assert pairs_in == pairs.height + table.height - of_votes, "pairs in = pairs kept + pairs dropped"
    summary = _summary(votes.height, len(kept.pair), pairs_in, pairs, voters, refused, settings)
    summary |= {"dropped_votes": _counts(drops), "alpha": _alpha(kept), "components": components}
    return Filtered(pairs, voters, table, summary)


def _voters(cast: Cast, settings: Filter, seconds: Callable[[], np.ndarray]) -> tuple[pl.DataFrame, np.ndarray]:
    """`records.VOTER` of all who are known, and the posterior that their accuracies were estimated with."""
    known = cast.voter < len(cast.names)
    found = estimate(cast, settings.labels)
    table = describe(
        cast.names,
        voter=cast.voter[known],
        left=cast.left[known],
        decided=cast.choice[known] <= B,
        accuracy=found.accuracy[:-1],
        seconds=seconds(),
        rules=settings.voters,
    )
    return table, found.p_a


def _label(cast: Cast, settings: Filter, *, start: np.ndarray) -> pl.DataFrame:
    """All pairs with counts, posterior and label.

    A pair is a tie where the sides are even, and where more people tie than are for either side. Under the policy `half` ties
    pull the posterior to one half instead, each as half a vote for both sides.
    """
    n_a, n_b, n_tie, n_bad = tally(cast, cast.count).astype(np.int64).T
    tie = n_tie + n_bad
    total = n_a + n_b + tie
    tie_rate = tie / np.maximum(total, 1)
    p_a = estimate(cast, settings.labels, start=start).p_a
    if settings.ties == "half":
        p_a = (1 - tie_rate) * p_a + tie_rate / 2
    p_a = np.round(p_a, 9)  # the order in which votes are added must not show
    even = p_a == 0.5
    is_tie = even if settings.ties == "half" else even | (tie > np.maximum(n_a, n_b))
    for_a = p_a > 0.5
    agreed = np.where(is_tie, tie, np.where(for_a, n_a, n_b))
    asked = np.where(is_tie, total, n_a + n_b)
    return cast.facts.with_columns(
        p_a=p_a,
        n_votes=total,
        votes_a=n_a,
        votes_b=n_b,
        votes_tie=tie,
        agreement=agreed / np.maximum(asked, 1),
        tie_rate=tie_rate,
        label=pl.Series(np.where(is_tie, "tie", np.where(for_a, "a", "b")), dtype=pl.String),
    )


def _choose(
    pairs: pl.DataFrame,
    settings: Filter,
    seed: int,
    held_out: pl.DataFrame | None,
    locked: pl.DataFrame,
    tokens: Tokens | None,
) -> tuple[pl.DataFrame, list[pl.DataFrame], dict[str, float | int]]:
    """The pairs that stay, as `records.PAIR`; drops of those that do not, in the order of the rules; what hangs together."""
    drops: list[pl.DataFrame] = []

    def refuse(condition: "pl.Expr | pl.Series", reason: str, detail: pl.Expr) -> None:
        nonlocal pairs
        gone = pairs.filter(condition)
        drops.append(_dropped(gone["pair_id"], reason, gone.with_columns(detail=detail.cast(pl.String))["detail"]))
        pairs = pairs.filter(~condition)

    chars = pl.col("prompt").str.len_chars()
    decided = pl.col("votes_a") + pl.col("votes_b")
    tie = pl.col("label") == "tie"
    refuse(pl.col("n_votes") == 0, "no_vote_left", pl.lit("every vote was of a flagged voter"))
    refuse(chars > settings.max_prompt_chars, "prompt_too_long", chars)
    refuse(pl.col("image_a") == pl.col("image_b"), "same_image", pl.col("image_a"))
    refuse(~tie & (decided < settings.min_votes), "too_few_votes", decided)
    refuse(~tie & ((pl.col("p_a") - 0.5).abs() < settings.min_margin), "low_margin", pl.col("p_a").round(4))
    refuse(pl.col("cluster_a") == pl.col("cluster_b"), "near_identical", pl.col("image_a"))
    if tokens is not None:
        over, taken = tokens(pairs)
        pairs = pairs.with_columns(tokens=taken)
        refuse(pl.Series(over), "prompt_too_many_tokens", pl.format("{} tokens", "tokens"))
    if held_out is not None and not held_out.is_empty():
        known = shared_run(pairs["prompt"], held_out["prompt"].unique().sort(), words=settings.ngram)
        refuse(pl.Series(known), "evaluation_prompt", pl.col("prompt").str.slice(0, 80))
        refuse(pl.col("held_out_a") | pl.col("held_out_b"), "evaluation_image", pl.col("image_a"))
    components = hanging_together(pairs)
    found = assign(pairs, settings, seed=seed, locked=locked)
    pairs = pl.concat([pairs, found], how="horizontal")
    for reason in ("leak", "split_conflict", "held_out_generator", "held_out"):
        refuse(pl.col("refused").eq_missing(reason), reason, pl.col("detail"))
    if settings.ties != "keep":
        refuse(tie & (pl.col("split") == "train"), "tie", pl.lit("no preference to learn"))
    return pairs.select(pl.col(name).cast(kind) for name, kind in PAIR.items()).sort("pair_id"), drops, components


def _images_of(
    facts: pl.DataFrame, images: pl.DataFrame, settings: Filter, held_out: pl.DataFrame | None
) -> pl.DataFrame:
    """What is known of every image of `facts`: cluster, size, and whether it is in an evaluation set."""
    sides = [facts.select(sha256=f"image_{side}", source="source") for side in "ab"]
    bits = pl.col("source").replace_strict(settings.copies, default=-1, return_dtype=pl.Int64)
    used = pl.concat(sides).group_by("sha256").agg(bits.max().alias("bits"))
    return cluster_images(images.join(used, on="sha256"), held_out, max(settings.copies.values(), default=-1))


def _with_images(pairs: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    for side in "ab":
        renamed = known.rename({name: f"{name}_{side}" for name in known.columns if name != "sha256"})
        pairs = pairs.join(renamed, left_on=f"image_{side}", right_on="sha256", how="left", maintain_order="left")
        assert not pairs[f"cluster_{side}"].has_nulls(), "every image is in the index"
    return pairs


def _dropped(ids: pl.Series, reason: str, detail: "str | pl.Series") -> pl.DataFrame:
    """A table of `records.DROP`; `detail` is one for all, or one for each."""
    table = pl.DataFrame({"id": ids}).with_columns(
        stage=pl.lit("filter"), reason=pl.lit(reason), detail=pl.lit(detail) if isinstance(detail, str) else detail
    )
    return table.select(pl.col(name).cast(kind) for name, kind in DROP.items())


def _require_training(pairs: pl.DataFrame, drops: pl.DataFrame) -> None:
    if (pairs["split"] == "train").any():
        return
    reasons = drops["reason"].value_counts(sort=True).rows()
    raise SuasionError(
        f"no {'pair' if pairs.is_empty() else 'training pair'} is left; dropped: "
        + ", ".join(f"{count} {reason}" for reason, count in reasons),
        where="params.yaml: filter",
        do="loosen what drops the most, or bring more votes",
    )


def _summary(
    votes_in: int,
    votes_kept: int,
    pairs_in: int,
    pairs: pl.DataFrame,
    voters: pl.DataFrame,
    refused: list[pl.DataFrame],
    settings: Filter,
) -> dict[str, Any]:
    by_split = dict(pairs["split"].value_counts().rows())
    return {
        "votes_in": votes_in,
        "votes_kept": votes_kept,
        "voters": voters.height,
        "voters_flagged": int(voters["flagged"].sum()),
        "pairs_in": pairs_in,
        "pairs_kept": pairs.height,
        "labels": settings.labels,
        "ties": settings.ties,
        "splits": {split: by_split.get(split, 0) for split in ("train", "val", "test", "ood")},
        "dropped_pairs": _counts(refused),
        "mean_agreement": _mean(pairs["agreement"]),
        "mean_tie_rate": _mean(pairs["tie_rate"]),
    }


def _counts(drops: list[pl.DataFrame]) -> dict[str, int]:
    return {table["reason"][0]: table.height for table in drops if not table.is_empty()}


def _alpha(cast: Cast) -> dict[str, float | None]:
    """Krippendorff's alpha of the votes of each source, over the answers A, B, tie and both bad."""
    source = (
        cast.facts["source"].rank("dense").to_numpy().astype(np.int64) - 1
        if cast.facts.height
        else np.zeros(0, np.int64)
    )
    cells = tally(cast, cast.count)
    names = cast.facts["source"].unique().sort().to_list()
    found = {name: krippendorff_alpha(cells[source == at]) for at, name in enumerate(names)}
    return {name: None if alpha is None else round(alpha, 6) for name, alpha in found.items()}


def _mean(values: pl.Series) -> float | None:
    mean = values.mean()
    return round(float(mean), 6) if isinstance(mean, int | float) and np.isfinite(mean) else None
