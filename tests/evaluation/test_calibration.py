import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suasion.evaluation.calibration import COVERAGES, abstention, calibrated, calibration_table, measure_calibration
from suasion.evaluation.ties import tie_aware

OTHER = {"a": "b", "b": "a", "tie": "tie"}
ANSWERS = st.lists(
    st.tuples(st.one_of(st.none(), st.integers(0, 64).map(lambda k: k / 64)), st.sampled_from(["a", "b", "tie"])),
    max_size=30,
)


def pairs(answers: list[tuple[float | None, str]]) -> pl.DataFrame:
    """As `ties.probabilities` gives them, two pairs a prompt."""
    rows = [("test", f"prompt-{n // 2}", f"pair-{n}", label, p) for n, (p, label) in enumerate(answers)]
    schema = {"split": pl.String, "prompt_id": pl.String, "pair_id": pl.String, "label": pl.String, "p": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_brier_and_calibration_error_by_hand() -> None:
    # confidences 0.9, 0.9 (one right), 0.62 (right), 0.5 (neither); ties and what does not parse are not in it
    rows = calibrated(pairs([(0.9, "a"), (0.1, "a"), (0.38, "b"), (0.5, "b"), (0.7, "tie"), (None, "a")]))
    found = measure_calibration(rows, resamples=50, seed=0)
    assert found["brier"]["value"] == pytest.approx((0.01 + 0.81 + 0.38**2 + 0.25) / 4)
    assert found["ece"]["value"] == pytest.approx((2 * abs(0.5 - 0.9) + abs(1 - 0.62) + abs(0.5 - 0.5)) / 4)
    assert (found["brier"]["n"], found["ece"]["n"]) == (4, 4)
    table = calibration_table(rows)
    assert table["confidence"].to_list() == pytest.approx([0.5, 0.62, 0.9])
    assert table["accuracy"].to_list() == [0.5, 1.0, 0.5]
    assert table["n"].to_list() == [1, 1, 2]


def test_a_model_that_knows_how_sure_it_may_be_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, 20_000)
    label = np.where(rng.random(20_000) < p, "a", "b")
    rows = calibrated(pairs(list(zip(p.tolist(), label.tolist(), strict=True))))
    found = measure_calibration(rows, resamples=20, seed=0)
    assert found["ece"]["value"] < 0.015
    assert found["brier"]["value"] == pytest.approx(1 / 6, abs=0.005)
    sure = calibrated(
        pairs([(1.0 if q > 0.5 else 0.0, one) for q, one in zip(p.tolist(), label.tolist(), strict=True)])
    )
    assert measure_calibration(sure, resamples=20, seed=0)["ece"]["value"] == pytest.approx(0.25, abs=0.01)


@given(ANSWERS)
def test_exchanging_the_images_changes_nothing(answers: list[tuple[float | None, str]]) -> None:
    swapped = [(None if p is None else 1 - p, OTHER[label]) for p, label in answers]
    before, after = (measure_calibration(calibrated(pairs(a)), resamples=5, seed=0) for a in (answers, swapped))
    assert before == after
    assert tie_aware(pairs(answers), resamples=5, seed=0) == tie_aware(pairs(swapped), resamples=5, seed=0)


@given(ANSWERS)
def test_tie_aware_accuracy_is_the_best_of_all_thresholds(answers: list[tuple[float | None, str]]) -> None:
    """(concordant + tied in both) / all, at every epsilon, as in `tau_optimization`."""
    known = [(p, label) for p, label in answers if p is not None]
    counts = [0]
    for epsilon in [k / 64 for k in range(33)]:
        called = ["tie" if abs(p - 0.5) <= epsilon else "a" if p > 0.5 else "b" for p, _ in known]
        counts.append(sum(said == label for said, (_, label) in zip(called, known, strict=True)))
    none = sum(("a" if p > 0.5 else "b" if p < 0.5 else "") == label for p, label in known)
    found = tie_aware(pairs(answers), resamples=5, seed=0)
    best = max(*counts, none)
    assert found["n"] == len(answers)
    assert found["value"] == (pytest.approx(best / len(answers), abs=1e-6) if answers else None)


def test_abstention_by_hand() -> None:
    rows = pairs([(0.99, "a"), (0.6, "a"), (0.4, "a"), (None, "a")]).with_columns(accuracy=pl.Series([1.0, 1, 0, 0]))
    table = abstention(rows, resamples=200, seed=0)
    assert table["coverage"].to_list() == list(COVERAGES)
    curve = dict(zip(COVERAGES, table["accuracy"], strict=True))
    assert curve[0.05] == curve[0.25] == 1.0
    assert curve[0.5] == pytest.approx((1 + 0.5 * 1 + 0.5 * 0) / 2), "of two that are equally sure a half each"
    assert curve[0.75] == pytest.approx(2 / 3)
    assert curve[1.0] == 0.5
    assert (table["low"] <= table["accuracy"]).all()


def test_who_declines_what_is_hard_gets_better_and_nothing_is_no_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 4000)
    right = rng.random(4000) < p
    rows = pairs([(q, "a") for q in p.tolist()]).with_columns(accuracy=pl.Series(right).cast(pl.Float64))
    curve = abstention(rows, resamples=20, seed=0)["accuracy"]
    assert curve[1] > 0.93
    assert curve[-1] == pytest.approx(right.mean(), abs=1e-6)
    assert abstention(rows.head(0), resamples=20, seed=0).is_empty()
