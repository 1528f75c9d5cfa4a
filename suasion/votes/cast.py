"""Votes as arrays of numbers, those of one pair side by side: what the filter counts and estimates from.

Strings are looked at once a pair or once a voter, so that a million votes take a fraction of a second.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from suasion.records import CHOICES
from suasion.votes.reliability import Estimate, Votes, bradley_terry, confusion, one_coin, shares

PAIR_FACTS = ("pair_id", "prompt_id", "prompt", "image_a", "image_b", "model_a", "model_b", "source", "source_split")
A, B, TIE, BOTH_BAD = range(len(CHOICES))
_EXCHANGED = np.array([B, A, TIE, BOTH_BAD])


@dataclass(frozen=True)
class Cast:
    """Votes as arrays of one length, those of one pair side by side; `facts` has a row for every pair."""

    vote_id: pl.Series
    pair: np.ndarray  # number of the row of `facts`
    voter: np.ndarray  # number of the name in `names`; len(names) for all who are not known
    choice: np.ndarray  # 0 a, 1 b, 2 tie, 3 both_bad, of the pair's images
    left: np.ndarray  # whether the image that this voter saw as A was chosen
    count: np.ndarray
    weight: np.ndarray
    voted_at: pl.Series
    facts: pl.DataFrame
    names: pl.Series

    def only(self, keep: np.ndarray) -> "Cast":
        """The votes `keep` (n,) bool alone; pairs and voters keep their numbers."""
        kept = pl.Series(keep)
        return Cast(
            self.vote_id.filter(kept),
            self.pair[keep],
            self.voter[keep],
            self.choice[keep],
            self.left[keep],
            self.count[keep],
            self.weight[keep],
            self.voted_at.filter(kept),
            self.facts,
            self.names,
        )


def number(votes: pl.DataFrame) -> Cast:
    """`votes` (`records.VOTE`) as arrays, sorted by pair and vote.

    Where people saw a pair in both orders, its A is the image of the smaller hash, and what they chose is turned to that.
    """
    if not votes["pair_id"].is_sorted():
        votes = votes.sort("pair_id", "vote_id")
    pair = votes["pair_id"].rle_id().to_numpy()
    first = np.flatnonzero(np.diff(pair, prepend=-1)) if len(pair) else np.zeros(0, np.int64)
    facts = votes[first].select(PAIR_FACTS)
    turned = (votes["image_a"] != facts["image_a"].gather(pair)).to_numpy()
    if turned.any():
        both = pl.Series(np.bincount(pair, turned, minlength=len(first)) > 0)
        exchange = both & (facts["image_a"] > facts["image_b"])
        facts = _exchange(facts, exchange)
        turned ^= exchange.to_numpy()[pair]
    choice = votes["choice"].cast(pl.Enum(CHOICES)).to_physical().to_numpy()
    names = votes["annotator_id"].drop_nulls().unique().sort()
    known = votes["annotator_id"].cast(pl.Enum(names)).to_physical().fill_null(len(names))
    return Cast(
        vote_id=votes["vote_id"],
        pair=pair.astype(np.int64),
        voter=known.to_numpy().astype(np.int64),
        choice=np.where(turned, _EXCHANGED[choice], choice),
        left=choice == A,
        count=votes["count"].to_numpy(),
        weight=votes["weight"].to_numpy(),
        voted_at=votes["voted_at"],
        facts=facts,
        names=names,
    )


def _exchange(facts: pl.DataFrame, which: pl.Series) -> pl.DataFrame:
    sides = [("image_a", "image_b"), ("model_a", "model_b")]
    return facts.with_columns(
        pl.when(which).then(pl.col(other)).otherwise(pl.col(name)).alias(name)
        for pair in sides
        for name, other in (pair, pair[::-1])
    )


def last_votes(cast: Cast) -> tuple[Cast, Cast]:
    """One vote per known person and pair, the last by `voted_at`, then `vote_id`; and the ones before."""
    known = np.flatnonzero(cast.voter < len(cast.names))
    key = cast.pair[known] * len(cast.names) + cast.voter[known]
    before = np.zeros(len(cast.pair), dtype=bool)
    order = np.argsort(key, kind="stable")  # nearly in order already, which a stable sort makes use of
    again = np.append(False, np.diff(key[order]) == 0)
    if again.any():
        row = known[order[again | np.append(again[1:], False)]]
        columns = {"row": row, "pair": cast.pair[row], "voter": cast.voter[row]}
        table = pl.DataFrame(columns | {"at": cast.voted_at.gather(row), "id": cast.vote_id.gather(row)})
        table = table.sort("pair", "voter", "at", "id", nulls_last=False)
        same = (pl.col("pair") == pl.col("pair").shift(-1)) & (pl.col("voter") == pl.col("voter").shift(-1))
        before[table.filter(same)["row"].to_numpy()] = True
        return cast.only(~before), cast.only(before)
    return cast, cast.only(before)


def estimate(cast: Cast, method: str) -> Estimate:
    """The posterior of every pair and the accuracy of every voter, the last of them all who are not known.

    `method` is one of `filter.labels`; ties are left out, and majority alone takes no account of trust scores. Where as
    many people tie as are for either side there may be nothing to be right about: such a pair says nothing of its voters.
    """
    decided = cast.choice <= B
    counts = [np.bincount(cast.pair[cast.choice == side], minlength=cast.facts.height) for side in (A, B)]
    ties = np.bincount(cast.pair[~decided], minlength=cast.facts.height)
    open_ = ties >= np.maximum(*counts)
    weight = cast.count * (1.0 if method == "majority" else cast.weight)
    votes = Votes(
        pair=cast.pair[decided],
        voter=cast.voter[decided],
        chose_a=cast.choice[decided] == A,
        weight=weight[decided].astype(np.float64),
        telling=~open_[cast.pair[decided]],
        pairs=cast.facts.height,
        voters=len(cast.names) + 1,
    )
    if method == "bradley_terry":
        # A score is an image's for a prompt: the same image may fit one prompt and not another.
        sides = [cast.facts.select("prompt_id", image=f"image_{side}") for side in "ab"]
        codes = pl.concat(sides).select(pl.struct("prompt_id", "image").rank("dense")).to_series().to_numpy() - 1
        return bradley_terry(votes, *np.split(codes.astype(np.int64), 2))
    return {"one_coin": one_coin, "confusion": confusion}.get(method, shares)(votes)
