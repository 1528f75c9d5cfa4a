"""How reliable each voter is, and how likely A is the better image of each pair, from decided votes.

Four ways, chosen by `filter.labels`: shares of votes (`majority`, `weighted_majority`), Dawid-Skene with one probability a
voter (`one_coin`: Dawid and Skene 1979 in the form of Raykar and Yu 2012), Dawid-Skene with a whole table of what a
voter answers (`confusion`), and Bradley-Terry over images with noisy voters (`bradley_terry`: Chen et al., *Pairwise
Ranking Aggregation in a Crowdsourced Setting*, WSDM 2013, with a side bias a voter). All are expectation maximisation over
sparse matrices of pairs and voters: a million votes take about a second. Ties carry no side and are no input here. Given up:
difficulties of pairs, and intervals of the estimates.

`one_coin`, shares and, without a side bias, Bradley-Terry treat the sides alike: exchanging A and B of some pairs exchanges
their `p_a` with 1 - `p_a` and changes nothing else. `confusion` and the side bias learn sides, so only exchanging all pairs
at once is neutral there.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

PRIOR_RIGHT, PRIOR_WRONG = 2.0, 1.0
"""Votes that every voter is taken to have cast before: one with few votes counts as right two times in three."""

_ROUNDS = 100
_TOLERANCE = 1e-6  # of a posterior from one round to the next
_ODDS = 35.0  # log odds are cut here: the posterior of double precision is 1 beyond
_SPREAD = 2.0  # standard deviation of an image's score, in log odds, before any vote
_TINY = 1e-10


class Votes(NamedTuple):
    """Decided votes as arrays of one length n."""

    pair: np.ndarray  # (n,) int, from 0
    voter: np.ndarray  # (n,) int, from 0
    chose_a: np.ndarray  # (n,) bool
    weight: np.ndarray  # (n,) float64: how many judgements a vote stands for, times the source's trust
    pairs: int
    voters: int
    telling: np.ndarray  # (pairs,) bool: says something of its voters; not where most people see no difference


class Estimate(NamedTuple):
    """`p_a` (pairs,) posterior that A is better, 0.5 where nobody decided; `accuracy` (voters,) that a vote is right."""

    p_a: np.ndarray
    accuracy: np.ndarray


def shares(votes: Votes) -> Estimate:
    """The share of the votes' weight that is for A, with half a vote for each side beforehand.

    A voter is right where the vote is with the majority, which it is part of: with few votes on a pair that flatters.
    """
    p_a = _shares(votes)
    return Estimate(p_a, _accuracy(votes, _signed(votes).T.tocsr(), _cast(votes), _hard(p_a)))


def one_coin(votes: Votes, *, start: np.ndarray | None = None) -> Estimate:
    """Each voter is right with one probability, whichever side is better; a pair's prior is one half.

    With s the votes' weights, positive for A, the log odds of a pair are s @ logit(accuracy), and the right votes of a voter
    half the votes cast plus s.T @ (p_a - 1/2): a round costs two products with one sparse matrix. It begins with `start`
    (pairs,), an earlier posterior, or with the shares of the votes.
    """
    signed, cast = _signed(votes), _cast(votes)
    by_voter = signed.T.tocsr()
    p_a = _shares(votes) if start is None else start
    for _ in range(_ROUNDS):
        accuracy = _accuracy(votes, by_voter, cast, p_a)
        before, p_a = p_a, _logistic(signed @ (np.log(accuracy) - np.log1p(-accuracy)))
        if np.abs(p_a - before).max(initial=0.0) < _TOLERANCE:
            break
    return Estimate(p_a, _accuracy(votes, by_voter, cast, p_a))


def confusion(votes: Votes, *, smoothing: float = 1.0) -> Estimate:
    """Dawid-Skene over the classes A and B; a voter has a probability of each answer for each truth.

    `smoothing` is what every voter is taken to have answered before: twice as many right answers as wrong ones of either
    truth. At 0 it is the model of 1979.
    """
    answers = [_matrix(votes, votes.weight, side) for side in (votes.chose_a, ~votes.chose_a)]
    p_a = dawid_skene(answers, votes.telling, smoothing=smoothing).posterior[:, 0]
    return Estimate(p_a, _accuracy(votes, _signed(votes).T.tocsr(), _cast(votes), p_a))


class DawidSkene(NamedTuple):
    """`posterior` (pairs, K) float64, `tables` (K truths, K answers, voters), `prior` (K,), `log_likelihood` of the votes."""

    posterior: np.ndarray
    tables: np.ndarray
    prior: np.ndarray
    log_likelihood: float


def dawid_skene(
    answers: "list[sp.csr_array]",
    telling: np.ndarray | None = None,
    *,
    smoothing: float = 1.0,
    gain: float = 1e-8,
) -> DawidSkene:
    """Expectation maximisation of Dawid and Skene (1979) from the shares of the answers.

    `answers` holds one sparse matrix (pairs, voters) of weights for each of the K answers; `telling` (pairs,) bool the pairs
    that say something of their voters, default all. Pairs without votes keep the prior. It ends where a round adds less
    than `gain` to the log likelihood of a vote.
    """
    kinds, (pairs, voters) = len(answers), answers[0].shape
    told = np.ones(pairs) if telling is None else telling.astype(np.float64)
    by_voter = [matrix.T.tocsr() for matrix in answers]
    cast = np.stack([matrix @ told for matrix in by_voter])  # (answers, voters)
    totals = np.stack([matrix @ np.ones(voters) for matrix in answers], axis=1)
    on_pair = totals.sum(axis=1, keepdims=True)
    posterior = np.divide(totals, on_pair, out=np.full_like(totals, 1.0 / kinds), where=on_pair > 0)
    before_any = smoothing * (1.0 + np.eye(kinds))[:, :, None]
    likelihood = -np.inf
    for _ in range(_ROUNDS):
        tables = _tables(by_voter, cast, posterior * told[:, None], before_any)
        prior = np.maximum(posterior.mean(axis=0), _TINY) if smoothing == 0 else np.full(kinds, 1.0 / kinds)
        logs = np.log(tables)
        joint = np.tile(np.log(prior), (pairs, 1))
        for at, matrix in enumerate(answers):
            for truth in range(kinds - 1):
                joint[:, truth] += matrix @ (logs[truth, at] - logs[-1, at])
        of_last = sum(float((matrix @ logs[-1, at]).sum()) for at, matrix in enumerate(answers))
        top = joint.max(axis=1, keepdims=True)
        posterior = np.exp(joint - top)
        mass = posterior.sum(axis=1, keepdims=True)
        posterior /= mass
        before, likelihood = likelihood, float((np.log(mass) + top).sum()) + of_last
        if likelihood - before < gain * totals.sum():
            break
    return DawidSkene(posterior, tables, prior, likelihood)


def _tables(
    by_voter: "list[sp.csr_array]", cast: np.ndarray, posterior: np.ndarray, before_any: np.ndarray
) -> np.ndarray:
    """Probabilities (truths, answers, voters) of each answer given the truth, from votes weighed by the posterior."""
    kinds = len(by_voter)
    tables = np.empty((kinds, kinds, cast.shape[1]))
    for truth in range(kinds - 1):  # the last truth has the votes that the others leave
        column = np.ascontiguousarray(posterior[:, truth])
        tables[truth] = np.stack([matrix @ column for matrix in by_voter])
    tables[-1] = np.maximum(cast - tables[:-1].sum(axis=0), 0.0)
    tables += before_any
    tables /= np.maximum(tables.sum(axis=1, keepdims=True), _TINY)
    return np.maximum(tables, _TINY)


def bradley_terry(votes: Votes, image_a: np.ndarray, image_b: np.ndarray, *, side_bias: bool = True) -> Estimate:
    """Every image has a score, A wins with probability logistic(score A - score B); a voter looks, or answers blindly.

    A vote of voter v is for A with probability g_v logistic(d) + (1 - g_v) q_v: g_v is how often v looks, q_v what v answers
    else (one half without `side_bias`). `image_a` and `image_b` (pairs,) int index the images, so that pairs of one prompt
    that share an image say something of each other. `p_a` is logistic(d): how many people would prefer A, not how sure it is
    that most do. So a voter is right where the vote is for the side that it favours.

    The scores are moved along a quadratic bound of the logistic likelihood (Jaakkola and Jordan 2000), a few steps a round.
    """
    images = int(max(image_a.max(initial=-1), image_b.max(initial=-1))) + 1
    weight, side = votes.weight, np.where(votes.chose_a, 1.0, -1.0)
    cast, telling = _cast(votes), votes.telling[votes.pair]
    score, looks, left = np.zeros(images), np.full(votes.voters, 2 / 3), np.full(votes.voters, 0.5)
    p_a = np.full(votes.pairs, 0.5)
    for round_ in range(_ROUNDS):
        logistic = 0.5 + side * (p_a - 0.5)[votes.pair] if round_ else np.full(len(side), 0.75)
        blind = 0.5 + side * (left - 0.5)[votes.voter]
        look = looks[votes.voter]
        looked = look * logistic
        looked = weight * looked / (looked + (1 - look) * blind)
        told = looked * telling
        sums = np.bincount(votes.voter, told, minlength=votes.voters)
        looks = (sums + PRIOR_RIGHT) / (cast + PRIOR_RIGHT + PRIOR_WRONG)
        if side_bias:
            rest = weight * telling - told
            blind_a = np.bincount(votes.voter, rest * votes.chose_a, minlength=votes.voters)
            left = (blind_a + 2.0) / (np.maximum(cast - sums, 0.0) + 4.0)
        balance = np.bincount(votes.pair, looked * side, minlength=votes.pairs)
        total = np.bincount(votes.pair, looked, minlength=votes.pairs)
        for _ in range(4):
            score = _raise_scores(score, image_a, image_b, balance, total)
        before, p_a = p_a, _logistic(score[image_a] - score[image_b])
        if np.abs(p_a - before).max(initial=0.0) < 1e-4:  # it creeps from here, and labels are long settled
            break
    return Estimate(p_a, _accuracy(votes, _signed(votes).T.tocsr(), cast, _hard(p_a)))


def _raise_scores(
    score: np.ndarray, image_a: np.ndarray, image_b: np.ndarray, balance: np.ndarray, total: np.ndarray
) -> np.ndarray:
    """One step of all scores; `balance` is a pair's weight for A less that for B, `total` their sum."""
    gap = score[image_a] - score[image_b]
    half = np.tanh(gap / 2)
    slope = 0.5 * (balance - total * half)
    curve = total * np.divide(half, 2 * gap, out=np.full_like(gap, 0.25), where=np.abs(gap) > 1e-6)
    size = len(score)
    gradient = np.bincount(image_a, slope, minlength=size) - np.bincount(image_b, slope, minlength=size)
    # Both ends of a pair move: (x - y)^2 <= 2 x^2 + 2 y^2 keeps the bound with each image on its own.
    bound = np.bincount(image_a, 2 * curve, minlength=size) + np.bincount(image_b, 2 * curve, minlength=size)
    moved: np.ndarray = score + (gradient - score / _SPREAD**2) / (bound + 1 / _SPREAD**2)
    return moved


def _matrix(votes: Votes, values: np.ndarray, only: "np.ndarray | slice" = slice(None)) -> "sp.csr_array":
    """`values` of the votes `only` as a sparse matrix (pairs, voters); those of one voter on one pair are added."""
    pair, voter, values, shape = votes.pair[only], votes.voter[only], values[only], (votes.pairs, votes.voters)
    if (np.diff(pair) < 0).any():
        return sp.coo_array((values, (pair, voter)), shape=shape).tocsr()
    ends = np.cumsum(np.bincount(pair, minlength=votes.pairs))  # side by side already: no need to sort them again
    return sp.csr_array((values, voter.astype(np.int32), np.append(0, ends).astype(np.int32)), shape=shape)


def _signed(votes: Votes) -> "sp.csr_array":
    return _matrix(votes, np.where(votes.chose_a, votes.weight, -votes.weight))


def _cast(votes: Votes) -> np.ndarray:
    told = votes.weight * votes.telling[votes.pair]
    return np.bincount(votes.voter, told, minlength=votes.voters).astype(np.float64)


def _accuracy(votes: Votes, by_voter: "sp.csr_array", cast: np.ndarray, p_a: np.ndarray) -> np.ndarray:
    """Expected share of right votes of each voter, with the prior's votes; `by_voter` is `_signed`, transposed."""
    right = 0.5 * cast + by_voter @ ((p_a - 0.5) * votes.telling)
    accuracy: np.ndarray = (right + PRIOR_RIGHT) / (cast + PRIOR_RIGHT + PRIOR_WRONG)
    return accuracy


def _shares(votes: Votes) -> np.ndarray:
    for_a = np.bincount(votes.pair, votes.weight * votes.chose_a, minlength=votes.pairs)
    total = np.bincount(votes.pair, votes.weight, minlength=votes.pairs)
    share: np.ndarray = (for_a + 0.5) / (total + 1.0)
    return share


def _hard(p_a: np.ndarray) -> np.ndarray:
    side: np.ndarray = 0.5 + 0.5 * np.sign(np.round(p_a - 0.5, 9))
    return side


def _logistic(log_odds: np.ndarray) -> np.ndarray:
    found: np.ndarray = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -_ODDS, _ODDS)))
    return found
