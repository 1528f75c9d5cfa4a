from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suasion.errors import SuasionError
from suasion.params import Filter
from suasion.records import PAIR, VOTE
from suasion.votes.filter import filter_votes

LOOSE = Filter(min_votes=1, min_margin=0.0, max_prompt_chars=100, splits="source")
SWAPPED = {"a": "b", "b": "a", "tie": "tie", "both_bad": "both_bad"}


def vote(pair: str, who: str | None, choice: str, **changes: object) -> dict[str, object]:
    row = {
        "vote_id": f"{pair}-{who}-{choice}-{changes.get('voted_at')}",
        "pair_id": pair,
        "prompt_id": f"prompt-{pair}",
        "prompt": "a cat",
        "image_a": f"a-{pair}",
        "image_b": f"b-{pair}",
        "annotator_id": who,
        "choice": choice,
        "count": 1,
        "weight": 1.0,
        "voted_at": None,
        "source": "test",
        "source_split": "train",
        "model_a": None,
        "model_b": None,
    }
    return row | changes


def table(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=VOTE)


def crowd(seed: int, pairs: int = 12, voters: int = 6) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    choices = rng.choice(["a", "b", "tie"], p=[0.45, 0.45, 0.1], size=(pairs, voters))
    return table(*(vote(f"p{p}", f"v{v}", str(choices[p, v])) for p in range(pairs) for v in range(voters)))


def reasons(votes: pl.DataFrame, **changes: object) -> dict[str, int]:
    kept = [vote("keep", name, "a") for name in "xyz"]
    found = filter_votes(pl.concat([votes, table(*kept)]), LOOSE.model_copy(update=changes), seed=0)
    return found.summary["dropped"]


def test_each_reason_is_counted() -> None:
    assert reasons(table(vote("p", "v", "tie"))) == {"tie_in_train": 1}
    assert reasons(table(vote("p", "v", "a", prompt="x" * 101))) == {"prompt_too_long": 1}
    assert reasons(table(vote("p", "v", "a", image_b="a-p"))) == {"same_image": 1}
    assert reasons(table(vote("p", "v", "a")), min_votes=2) == {"too_few_votes": 1}
    even = table(vote("p", "v", "a"), vote("p", "w", "b"), vote("p", "u", "b", weight=0.1))
    assert reasons(even, min_margin=0.2) == {"low_margin": 1}


def test_the_last_vote_of_a_person_on_a_pair_counts() -> None:
    early, late = datetime(2026, 1, 1), datetime(2026, 1, 2)
    votes = table(vote("p", "v", "a", voted_at=late), vote("p", "v", "b", voted_at=early))
    found = filter_votes(votes, LOOSE, seed=0)
    assert found.pairs["label"].to_list() == ["a"]
    assert found.drops.select("id", "reason").rows() == [(f"p-v-b-{early}", "repeated_vote")]


def test_votes_of_nobody_known_all_count() -> None:
    found = filter_votes(table(vote("p", None, "a", count=5), vote("p", None, "b", count=2)), LOOSE, seed=0)
    assert found.pairs.select("votes_a", "votes_b", "n_votes", "label").rows() == [(5, 2, 7, "a")]


def test_a_voter_who_always_chooses_the_left_is_left_out() -> None:
    rows = []
    for index in range(40):
        better = "ab"[index % 2]
        rows += [vote(f"p{index:02d}", f"good{n}", better) for n in range(3)] + [vote(f"p{index:02d}", "left", "a")]
    found = filter_votes(table(*rows), LOOSE, seed=0)
    assert found.voters.filter(pl.col("flagged"))["annotator_id"].to_list() == ["left"]
    assert found.summary["dropped"] == {"voter_flagged": 40}
    assert found.pairs["label"].to_list() == ["a", "b"] * 20


def test_nothing_left_is_one_clear_error() -> None:
    with pytest.raises(SuasionError, match="no pair is left; dropped: 1 tie_in_train"):
        filter_votes(table(vote("p", "v", "tie")), LOOSE, seed=0)


def test_a_prompt_in_two_splits_of_the_source_is_an_error() -> None:
    votes = table(vote("p", "v", "a"), vote("q", "v", "a", prompt_id="prompt-p", source_split="test"))
    with pytest.raises(SuasionError, match="have not one split each"):
        filter_votes(votes, LOOSE, seed=0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.randoms(use_true_random=False))
def test_order_of_rows_changes_nothing(seed: int, random: object) -> None:
    votes = crowd(seed)
    order = list(range(votes.height))
    random.shuffle(order)  # type: ignore[attr-defined]  # hypothesis' Random
    first, second = (filter_votes(rows, LOOSE, seed=0) for rows in (votes, votes[order]))
    assert first.pairs.equals(second.pairs)
    assert first.voters.equals(second.voters)
    assert first.drops.equals(second.drops)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_exchanging_a_and_b_of_a_pair_exchanges_its_result_alone(seed: int) -> None:
    votes = crowd(seed)
    one = pl.col("pair_id") == "p3"
    exchanged = votes.with_columns(
        image_a=pl.when(one).then("image_b").otherwise("image_a"),
        image_b=pl.when(one).then("image_a").otherwise("image_b"),
        choice=pl.when(one).then(pl.col("choice").replace(SWAPPED)).otherwise("choice"),
    )
    first, second = (filter_votes(rows, LOOSE, seed=0).pairs for rows in (votes, exchanged))
    others = pl.col("pair_id") != "p3"
    assert first.filter(others)["label"].equals(second.filter(others)["label"])
    assert first.filter(others)["p_a"].to_numpy() == pytest.approx(second.filter(others)["p_a"].to_numpy(), abs=1e-9)
    mine, theirs = first.filter(~others), second.filter(~others)
    assert mine.height == theirs.height
    if mine.height:
        assert SWAPPED[mine["label"][0]] == theirs["label"][0]
        assert mine["p_a"][0] == pytest.approx(1 - theirs["p_a"][0], abs=1e-9)


def test_shares_of_prompts_are_met_and_no_prompt_is_in_two_splits() -> None:
    rows = [vote(f"p{i}", "v", "ab"[i % 2], prompt_id=f"prompt-{i // 2}", source_split=None) for i in range(60)]
    shares = LOOSE.model_copy(update={"splits": {"train": 0.5, "val": 0.2, "test": 0.3}})
    pairs = filter_votes(table(*rows), shares, seed=1).pairs
    assert pairs.schema == PAIR
    by_prompt = pairs.group_by("prompt_id").agg(pl.col("split").n_unique())
    assert by_prompt["split"].max() == 1
    prompts = pairs.unique("prompt_id")["split"].value_counts()
    assert dict(prompts.rows()) == {"train": 15, "val": 6, "test": 9}
