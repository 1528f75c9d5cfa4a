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
    facts = votes.select(PAIR_FACTS)[first]
    turned = (votes["image_a"] != facts["image_a"].gather(pair)).to_numpy()
    if turned.any():
        both = pl.Series(np.bincount(pair, turned, minlength=len(first)) > 0)
        exchange = both & (facts["image_a"] > facts["image_b"])
        facts = _exchange(facts, exchange)
        turned ^= exchange.to_numpy()[pair]
    choice = votes["choice"].cast(pl.Enum(CHOICES)).to_physical().to_numpy()
    names, voter = voters_of(votes["annotator_id"])
    return Cast(
        vote_id=votes["vote_id"],
        pair=pair.astype(np.int64),
        voter=voter,
        choice=np.where(turned, _EXCHANGED[choice], choice),
        left=choice == A,
        count=votes["count"].to_numpy(),
        weight=votes["weight"].to_numpy(),
        voted_at=votes["voted_at"],
        facts=facts,
        names=names,
    )


def voters_of(annotators: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """The names in order, and the number of each row's name, len(names) where it is null."""
    codes = annotators.cast(pl.Categorical).to_physical().to_numpy(allow_copy=True)
    known = annotators.is_not_null().to_numpy()
    first = np.full(int(codes[known].max(initial=0)) + 1, -1, dtype=np.int64)
    rows = np.flatnonzero(known)
    first[codes[rows[::-1]].astype(np.int64)] = rows[::-1]
    used = np.flatnonzero(first >= 0)
    names = annotators.gather(first[used])
    order = names.arg_sort().to_numpy()
    rank = np.full(len(first), len(used), dtype=np.int64)
    rank[used[order]] = np.arange(len(used))
    return names.gather(order), np.where(known, rank[np.where(known, codes, 0).astype(np.int64)], len(used))


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


def tally(cast: Cast, weight: np.ndarray) -> np.ndarray:
    """The sum of `weight` (n,) of each pair's votes by choice: (pairs, 4) float64, columns a, b, tie, both_bad."""
    cells = np.bincount(cast.pair * len(CHOICES) + cast.choice, weight, minlength=len(CHOICES) * cast.facts.height)
    return cells.reshape(-1, len(CHOICES))


def estimate(cast: Cast, method: str, *, start: np.ndarray | None = None) -> Estimate:
    """The posterior of every pair and the accuracy of every voter, the last of them all who are not known.

    `method` is one of `filter.labels`; ties are left out, and majority alone takes no account of trust scores. Where as
    many people tie as are for either side there may be nothing to be right about: such a pair says nothing of its voters.
    `start` is an earlier posterior of these pairs, from which `one_coin` is quicker.
    """
    decided = cast.choice <= B
    said = tally(cast, np.ones(len(cast.pair)))
    weight = cast.count * (1.0 if method == "majority" else cast.weight)
    votes = Votes(
        pair=cast.pair[decided],
        voter=cast.voter[decided],
        chose_a=cast.choice[decided] == A,
        weight=weight[decided].astype(np.float64),
        pairs=cast.facts.height,
        voters=len(cast.names) + 1,
        telling=said[:, TIE] + said[:, BOTH_BAD] < np.maximum(said[:, A], said[:, B]),
    )
    if method == "bradley_terry":
        # A score is an image's for a prompt: the same image may fit one prompt and not another.
        sides = [cast.facts.select("prompt_id", image=f"image_{side}") for side in "ab"]
        codes = pl.concat(sides).select(pl.struct("prompt_id", "image").rank("dense")).to_series().to_numpy() - 1
        return bradley_terry(votes, *np.split(codes.astype(np.int64), 2))
    if method == "one_coin":
        return one_coin(votes, start=start)
    return confusion(votes) if method == "confusion" else shares(votes)
