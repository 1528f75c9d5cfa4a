"""How reliable each voter is, and how likely A is the better image: one-coin Dawid-Skene by expectation maximisation.

Each voter has one probability of being right (Dawid and Skene 1979, with one parameter a voter, as Raykar and Yu 2012
use it). Ties carry no side and are left out of the likelihood. Given up: full confusion matrices and pair difficulty.
"""

from typing import NamedTuple

import numpy as np

_PRIOR_RIGHT, _PRIOR_WRONG = 4.0, 2.0  # a voter with few votes counts as right two times in three
_ROUNDS = 50
_TOLERANCE = 1e-9


class Estimate(NamedTuple):
    """`p_a` (pairs,) posterior that A is better; `accuracy` (voters,) probability that a decided vote is right."""

    p_a: np.ndarray
    accuracy: np.ndarray


def one_coin(pair: np.ndarray, voter: np.ndarray, chose_a: np.ndarray, weight: np.ndarray) -> Estimate:
    """Fit the model to decided votes.

    `pair` and `voter` (n,) int64 index pairs and voters from 0; `chose_a` (n,) bool; `weight` (n,) float64 is how many
    judgements a vote stands for. Exchanging A and B in a pair exchanges `p_a` and 1 - `p_a`, and nothing else: the prior
    of a pair is one half.
    """
    pairs, voters = int(pair.max(initial=-1)) + 1, int(voter.max(initial=-1)) + 1
    for_a = np.bincount(pair, weight * chose_a, minlength=pairs)
    total = np.bincount(pair, weight, minlength=pairs)
    p_a = np.divide(for_a + 0.5, total + 1.0)
    cast = np.bincount(voter, weight, minlength=voters)
    accuracy = np.full(voters, _PRIOR_RIGHT / (_PRIOR_RIGHT + _PRIOR_WRONG))
    side = np.where(chose_a, weight, -weight)
    for _ in range(_ROUNDS):
        agreed = np.where(chose_a, p_a[pair], 1.0 - p_a[pair])
        right = np.bincount(voter, weight * agreed, minlength=voters)
        accuracy = (right + _PRIOR_RIGHT) / (cast + _PRIOR_RIGHT + _PRIOR_WRONG)
        evidence = np.log(accuracy) - np.log1p(-accuracy)
        log_odds = np.bincount(pair, side * evidence[voter], minlength=pairs)
        before, p_a = p_a, 1.0 / (1.0 + np.exp(-np.clip(log_odds, -35, 35)))
        if np.abs(p_a - before).max(initial=0.0) < _TOLERANCE:
            break
    return Estimate(p_a, accuracy)
