import numpy as np
import pytest

from suasion.votes.reliability import one_coin


def test_known_reliabilities_are_found_and_beat_the_majority() -> None:
    rng = np.random.default_rng(0)
    pairs, true = 1500, np.array([0.95, 0.95, 0.55, 0.55, 0.55])
    truth = rng.random(pairs) < 0.5
    right = rng.random((pairs, len(true))) < true
    chose_a = np.where(right, truth[:, None], ~truth[:, None])
    pair, voter = (grid.ravel() for grid in np.meshgrid(np.arange(pairs), np.arange(len(true)), indexing="ij"))
    found = one_coin(pair, voter, chose_a.ravel(), np.ones(pair.size))
    assert found.accuracy == pytest.approx(true, abs=0.04)
    weighed = ((found.p_a > 0.5) == truth).mean()
    majority = ((chose_a.mean(axis=1) > 0.5) == truth).mean()
    assert weighed > majority + 0.05


def test_a_vote_that_stands_for_many_counts_as_many() -> None:
    pair, voter = np.array([0, 0]), np.array([0, 0])
    found = one_coin(pair, voter, np.array([True, False]), np.array([5.0, 2.0]))
    again = one_coin(np.zeros(7, int), np.zeros(7, int), np.array([True] * 5 + [False] * 2), np.ones(7))
    assert found.p_a == pytest.approx(again.p_a)


def test_no_votes_no_estimates() -> None:
    empty = np.array([], dtype=np.int64)
    found = one_coin(empty, empty, empty.astype(bool), empty.astype(float))
    assert found.p_a.shape == found.accuracy.shape == (0,)
