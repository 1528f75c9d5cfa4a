from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suasion.votes.reliability import Estimate, Votes, bradley_terry, confusion, dawid_skene, one_coin, shares


def apart(votes: Votes) -> Estimate:
    """Bradley-Terry where every pair has images of its own."""
    return bradley_terry(votes, 2 * np.arange(votes.pairs), 2 * np.arange(votes.pairs) + 1)


METHODS = {"shares": shares, "one_coin": one_coin, "confusion": confusion, "bradley_terry": apart}
ALL = np.ones(1, bool)
BETTER = {name: METHODS[name] for name in ("one_coin", "confusion", "bradley_terry")}


def crowd(accuracy: np.ndarray, pairs: int, seed: int, each: int | None = None) -> tuple[Votes, np.ndarray]:
    """Votes of voters with these accuracies, `each` of them (default: all) on every pair, and whether A is better."""
    rng = np.random.default_rng(seed)
    voters, each = len(accuracy), each or len(accuracy)
    truth = rng.random(pairs) < 0.5
    voter = np.concatenate([rng.choice(voters, size=each, replace=False) for _ in range(pairs)])
    pair = np.repeat(np.arange(pairs), each)
    right = rng.random(len(pair)) < accuracy[voter]
    return Votes(pair, voter, truth[pair] == right, np.ones(len(pair)), pairs, voters, np.ones(pairs, bool)), truth


@pytest.mark.parametrize("name", BETTER)
def test_known_reliabilities_are_found_and_beat_the_majority(name: str) -> None:
    true = np.array([0.95, 0.95, 0.55, 0.55, 0.55])
    votes, truth = crowd(true, 1500, seed=0)
    found = BETTER[name](votes)
    assert found.accuracy == pytest.approx(true, abs=0.06 if name == "bradley_terry" else 0.04)
    majority = ((shares(votes).p_a > 0.5) == truth).mean()
    assert ((found.p_a > 0.5) == truth).mean() > majority + 0.05


@pytest.mark.parametrize("name", ["one_coin", "bradley_terry"])
def test_where_all_are_equally_reliable_the_labels_are_the_majority(name: str) -> None:
    votes, _ = crowd(np.full(9, 0.75), 800, seed=1)
    assert ((METHODS[name](votes).p_a > 0.5) == (shares(votes).p_a > 0.5)).mean() > 0.995


def test_a_whole_table_finds_who_is_biased_to_a_side() -> None:
    rng = np.random.default_rng(3)
    votes, truth = crowd(np.array([0.85] * 5 + [0.5] * 4), 1200, seed=3)
    left = votes.voter >= 5
    votes = votes._replace(chose_a=np.where(left, rng.random(len(left)) < 0.9, votes.chose_a))
    assert ((confusion(votes).p_a > 0.5) == truth).mean() > ((shares(votes).p_a > 0.5) == truth).mean() + 0.05


def test_bradley_terry_learns_from_the_other_pairs_of_an_image() -> None:
    """Four images of one prompt in a circle of comparisons: no vote on 0 against 2, yet the order is known."""
    image_a, image_b = np.array([0, 1, 2, 0]), np.array([1, 2, 3, 2])
    pair = np.repeat([0, 1, 2], 20)
    votes = Votes(pair, np.tile(np.arange(20), 3), np.ones(60, bool), np.ones(60), 4, 20, np.ones(4, bool))
    found = bradley_terry(votes, image_a, image_b)
    assert found.p_a[3] > found.p_a[0] > 0.8
    assert one_coin(votes).p_a[3] == 0.5


@pytest.mark.parametrize("name", BETTER)
def test_votes_where_nobody_can_be_right_do_not_make_their_voters_look_worse(name: str) -> None:
    """A third of the pairs has no better image: their votes are coins, and say nothing of who threw them."""
    votes, _ = crowd(np.full(9, 0.9), 900, seed=2)
    coins = votes.pair < 300
    chose = np.where(coins, np.random.default_rng(0).random(len(coins)) < 0.5, votes.chose_a)
    unknown = votes._replace(chose_a=chose)
    known = unknown._replace(telling=np.arange(900) >= 300)
    tolerance = 0.05 if name == "bradley_terry" else 0.03
    assert METHODS[name](known).accuracy == pytest.approx(np.full(9, 0.9), abs=tolerance)
    assert METHODS[name](unknown).accuracy.max() < 0.87


@pytest.mark.parametrize("name", METHODS)
def test_a_vote_that_stands_for_many_counts_as_many(name: str) -> None:
    once = Votes(np.array([0, 0]), np.array([0, 1]), np.array([True, False]), np.array([5.0, 2.0]), 1, 2, ALL)
    often = Votes(
        np.zeros(7, int), np.array([0] * 5 + [1] * 2), np.array([True] * 5 + [False] * 2), np.ones(7), 1, 2, ALL
    )
    assert METHODS[name](once).p_a == pytest.approx(METHODS[name](often).p_a, abs=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_no_votes_no_estimates_and_a_pair_without_votes_is_open(name: str) -> None:
    empty = np.array([], dtype=np.int64)
    nothing = Votes(empty, empty, empty.astype(bool), empty.astype(float), 0, 0, empty.astype(bool))
    assert METHODS[name](nothing).p_a.shape == METHODS[name](nothing).accuracy.shape == (0,)
    one = Votes(np.array([0]), np.array([0]), np.array([True]), np.ones(1), pairs=2, voters=1, telling=np.ones(2, bool))
    assert METHODS[name](one).p_a[1] == pytest.approx(0.5)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from(sorted(METHODS)), st.data())
def test_order_and_names_change_nothing(seed: int, name: str, data: Any) -> None:
    votes, _ = crowd(np.random.default_rng(seed).uniform(0.5, 0.95, 5), 12, seed)
    order = np.array(data.draw(st.permutations(range(len(votes.pair)))))
    names = np.array(data.draw(st.permutations(range(votes.voters))))
    moved = votes._replace(
        pair=votes.pair[order],
        voter=names[votes.voter[order]],
        chose_a=votes.chose_a[order],
        weight=votes.weight[order],
    )
    first, second = METHODS[name](votes), METHODS[name](moved)
    assert second.p_a == pytest.approx(first.p_a, abs=1e-9)
    assert second.accuracy[names] == pytest.approx(first.accuracy, abs=1e-9)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sets(st.integers(0, 11)), st.sampled_from(["shares", "one_coin", "blind to sides"]))
def test_exchanging_the_sides_of_any_pairs_exchanges_their_posteriors_alone(
    seed: int, which: set[int], name: str
) -> None:
    ways = METHODS | {
        "blind to sides": lambda v: bradley_terry(v, 2 * np.arange(12), 2 * np.arange(12) + 1, side_bias=False)
    }
    votes, _ = crowd(np.random.default_rng(seed).uniform(0.5, 0.95, 5), 12, seed)
    exchanged = np.isin(np.arange(12), list(which))
    first = ways[name](votes)
    second = ways[name](votes._replace(chose_a=votes.chose_a ^ exchanged[votes.pair]))
    assert second.p_a == pytest.approx(np.where(exchanged, 1 - first.p_a, first.p_a), abs=1e-9)
    assert second.accuracy == pytest.approx(first.accuracy, abs=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from(sorted(METHODS)))
def test_exchanging_the_sides_of_all_pairs_exchanges_all_posteriors(seed: int, name: str) -> None:
    votes, _ = crowd(np.random.default_rng(seed).uniform(0.5, 0.95, 5), 12, seed)
    first, second = METHODS[name](votes), METHODS[name](votes._replace(chose_a=~votes.chose_a))
    assert second.p_a == pytest.approx(1 - first.p_a, abs=1e-6)


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_more_rounds_never_make_the_votes_less_likely(seed: int) -> None:
    import scipy.sparse as sp

    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, (20, 6))
    answers = [sp.csr_array((kinds == kind).astype(float)) for kind in range(3)]
    found = [dawid_skene(answers, smoothing=0.0, gain=gain).log_likelihood for gain in (1.0, 1e-2, 1e-4, 1e-8)]
    assert all(after >= before - 1e-6 for before, after in pairwise(found))
    assert dawid_skene(answers).posterior.sum(axis=1) == pytest.approx(1.0)
