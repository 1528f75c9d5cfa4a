from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suasion.evaluation.ties import call, fit_threshold, measure_ties, probabilities
from suasion.records import PREDICTION

OTHER = {"a": "b", "b": "a", "tie": "tie"}
# Multiples of 1/64: 1 - p is exact, and equal margins are common.
ANSWERS = st.lists(
    st.tuples(st.one_of(st.just(np.nan), st.integers(0, 64).map(lambda k: k / 64)), st.sampled_from(["a", "b", "tie"])),
    max_size=40,
)


def right(p: np.ndarray, label: list[str], threshold: float) -> int:
    return sum(said == true for said, true in zip(call(p, threshold), label, strict=True))


def unzip(answers: list[tuple[float, str]]) -> tuple[np.ndarray, list[str]]:
    return np.array([p for p, _ in answers], dtype=float), [label for _, label in answers]


@given(ANSWERS)
def test_no_threshold_does_better_and_no_smaller_one_as_well(answers: list[tuple[float, str]]) -> None:
    p, label = unzip(answers)
    fitted = fit_threshold(p, label)
    tried = {threshold: right(p, label, threshold) for threshold in [k / 128 for k in range(129)]}
    best = max(tried.values())
    assert right(p, label, fitted) == best
    assert all(count < best for threshold, count in tried.items() if called(p, threshold) < called(p, fitted))


def called(p: np.ndarray, threshold: float) -> int:
    return call(p, threshold).count("tie")


@given(ANSWERS, st.lists(st.booleans(), min_size=40, max_size=40))
def test_exchanging_a_and_b_of_any_pair_changes_nothing(
    answers: list[tuple[float, str]], exchanged: list[bool]
) -> None:
    p, label = unzip(answers)
    swap = np.array(exchanged[: len(p)], dtype=bool)
    other_p = np.where(swap, 1 - p, p)
    other_label = [OTHER[name] if flag else name for name, flag in zip(label, swap, strict=True)]
    threshold = fit_threshold(p, label)
    assert fit_threshold(other_p, other_label) == threshold
    assert right(other_p, other_label, threshold) == right(p, label, threshold)


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from(["a", "b", "tie"])), min_size=1, max_size=30))
def test_the_threshold_parts_any_two_floats(answers: list[tuple[float, str]]) -> None:
    """Margins one bit apart have no middle; what the fit counted on is what `call` says."""
    p, label = unzip(answers)
    margins = np.abs(p - 0.5)
    assert right(p, label, fit_threshold(p, label)) == max(right(p, label, t) for t in [0, *np.nextafter(margins, 2)])


@pytest.mark.parametrize(
    "answers", [[], [(np.nan, "tie")], [(0.9, "a"), (0.2, "b"), (0.51, "b")], [(np.nan, "a"), (np.nan, "tie")]]
)
def test_without_ties_or_answers_nothing_is_called_a_tie(answers: list[tuple[float, str]]) -> None:
    assert fit_threshold(*unzip(answers)) == 0


def prediction(pair: str, split: str, label: str, *p_a: float | None) -> list[dict[str, Any]]:
    empty: dict[str, Any] = dict.fromkeys(PREDICTION.names())
    shared = empty | {"model": "released", "pair_id": pair, "prompt_id": pair, "split": split, "label": label}
    return [shared | {"order": order, "p_a": p} for order, p in zip(("ab", "ba"), p_a, strict=True)]


def test_ties_by_hand() -> None:
    rows = [
        *prediction("v1", "val", "a", 0.9, 0.8),
        *prediction("v2", "val", "tie", 0.7, 0.4),  # 0.55
        *prediction("v3", "val", "b", 0.35, None),  # what there is counts
        *prediction("t1", "test", "tie", 0.5, 0.5),
        *prediction("t2", "test", "tie", 0.9, 0.9),
        *prediction("t3", "test", "a", 0.45, 0.6),  # called a tie
        *prediction("t4", "test", "b", 0.1, 0.3),
        *prediction("t5", "test", "a", None, None),  # wrong, whatever the threshold
    ]
    table = pl.DataFrame(rows, schema=PREDICTION)
    assert probabilities(table).filter(pl.col("pair_id") == "v3")["p"].to_list() == [0.35]
    found = measure_ties(table, resamples=50, seed=0)
    assert found["threshold"] == pytest.approx(0.1), "between the margins 0.05 and 0.15"
    assert found["val"]["accuracy3"]["value"] == 1.0
    assert found["test"]["accuracy3"]["value"] == pytest.approx(2 / 5)
    assert found["test"]["accuracy3"]["n"] == 5
    assert (found["test"]["tie_recall"], found["test"]["tie_precision"], found["test"]["n_ties"]) == (0.5, 0.5, 2)
    ood = found["ood"]
    assert (ood["accuracy3"]["n"], ood["tie_recall"], ood["tie_precision"], ood["n_ties"]) == (0, None, None, 0)
