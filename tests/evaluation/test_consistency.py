import itertools
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suasion.evaluation.consistency import VOTERS, majority, self_consistency
from suasion.records import SAMPLED


@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3), st.integers(1, 6))
def test_the_expectation_is_that_over_all_ways_to_take_k(right: int, wrong: int, unparsed: int, k: int) -> None:
    answers = [1] * right + [-1] * wrong + [None] * unparsed

    def points(taken: tuple[int | None, ...]) -> float:
        known = [vote for vote in taken if vote is not None]
        return float(sum(known) > 0) if not known or sum(known) else 0.5

    ways = [points(taken) for taken in itertools.combinations(answers, k)]
    found = majority(right, wrong, unparsed, k)
    assert found == (pytest.approx(np.mean(ways)) if ways else None)


@given(st.integers(0, 16), st.integers(0, 16), st.integers(1, 8))
def test_right_and_wrong_exchanged_add_up_to_one(right: int, wrong: int, k: int) -> None:
    found, other = majority(right, wrong, 0, k), majority(wrong, right, 0, k)
    assert (found is None) == (other is None)
    assert found is None or found + other == pytest.approx(1)  # type: ignore[operator]


def test_one_of_two_equal_votes_is_no_gain_and_an_odd_third_is() -> None:
    assert majority(12, 4, 0, 1) == pytest.approx(0.75)
    assert majority(12, 4, 0, 2) == pytest.approx(0.75), "a tied vote counts a half"
    assert majority(12, 4, 0, 3) > 0.75  # type: ignore[operator]
    assert majority(12, 4, 0, 16) == 1.0


def sampled(pair: str, label: str, choices: list[str | None]) -> list[dict[str, Any]]:
    return [
        {
            "model": "released",
            "pair_id": pair,
            "prompt_id": pair,
            "split": "test",
            "label": label,
            "order": "ab" if n % 2 == 0 else "ba",
            "sample": n,
            "choice": choice,
        }
        for n, choice in enumerate(choices)
    ]


def test_self_consistency_by_hand() -> None:
    rows = [
        *sampled("p1", "a", ["a"] * 12 + ["b"] * 4),
        *sampled("p2", "b", ["a"] * 16),
        *sampled("p3", "b", [None] * 15 + ["b"]),
        *sampled("p4", "tie", ["a"] * 16),
    ]
    found = self_consistency(pl.DataFrame(rows, schema=SAMPLED), resamples=50, seed=0)
    assert list(found) == [str(k) for k in VOTERS]
    assert found["1"]["value"] == pytest.approx((0.75 + 0 + 1 / 16) / 3, abs=1e-6)
    assert found["8"]["value"] == pytest.approx((majority(12, 4, 0, 8) + 0 + 1 / 2) / 3, abs=1e-6)  # type: ignore[operator]
    assert found["16"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    assert {one["n"] for one in found.values()} == {3}
    few = self_consistency(pl.DataFrame(sampled("p1", "a", ["a"] * 4), schema=SAMPLED), resamples=50, seed=0)
    assert (few["4"]["value"], few["8"]["value"], few["8"]["n"]) == (1.0, None, 0)
