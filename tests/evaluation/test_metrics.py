from typing import Any

import numpy as np
import polars as pl
import pytest

from suasion.evaluation.bootstrap import bootstrap, paired
from suasion.evaluation.metrics import mcnemar, measure, per_pair
from suasion.evaluation.references import references
from suasion.records import PAIR, PREDICTION, VOTE


def prediction(model: str, pair: int, order: str, choice: str | None, **changes: Any) -> dict[str, Any]:
    row = {
        "model": model,
        "pair_id": f"pair-{pair}",
        "prompt_id": f"prompt-{pair // 2}",
        "split": "test",
        "order": order,
        "label": "a",
        "completion": "x",
        "explanation": None if choice is None else "x",
        "choice": choice,
        "p_a": None,
        "correct": choice == "a",
        "listener_p_a": None if choice is None else 0.7,
        "contradiction": None if choice is None else choice == "b",
        "faithful": None,
    }
    return row | changes


def table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=PREDICTION)


def test_a_pair_is_the_mean_over_its_orders() -> None:
    rows = table([prediction("released", 0, "ab", "a"), prediction("released", 0, "ba", "b")])
    found = per_pair(rows).row(0, named=True)
    assert (found["accuracy"], found["contradiction"], found["flip"], found["parsed"]) == (0.5, 0.5, 1.0, 1.0)
    assert found["fidelity"] is None


def test_what_does_not_parse_is_wrong_and_counted() -> None:
    rows = table([prediction("released", 0, "ab", None), prediction("released", 0, "ba", "a")])
    found = per_pair(rows).row(0, named=True)
    assert (found["accuracy"], found["parsed"], found["flip"]) == (0.5, 0.5, None)
    assert found["contradiction"] == 0.0, "of the one explanation there is"


def test_words_of_an_explanation() -> None:
    rows = table(
        [
            prediction("released", 0, "ab", "a", explanation="two red  circles\n"),
            prediction("released", 0, "ba", "a", explanation="one"),
            prediction("released", 1, "ab", None),
            prediction("released", 1, "ba", None),
        ]
    )
    assert per_pair(rows).sort("pair_id")["words"].to_list() == [2.0, None]


def test_mcnemar_by_hand() -> None:
    def of(values: list[float]) -> pl.DataFrame:
        names = [str(n) for n in range(len(values))]
        return pl.DataFrame(
            {"pair_id": names, "accuracy": values}, schema={"pair_id": pl.String, "accuracy": pl.Float64}, strict=False
        )

    first, second = of([1, 1, 1, 1, 0.5, 0, 0, 1]), of([0, 0, 0, 0.5, 0, 1, 0, 1])
    found = mcnemar(first, second)
    assert (found["better"], found["worse"]) == (5, 1)
    assert found["p"] == pytest.approx(2 * (1 + 6) / 2**6), "0 or 1 of 6 fair coins, both tails"
    assert mcnemar(second, first) == {"better": 1, "worse": 5, "p": found["p"]}
    assert mcnemar(first, first) == {"better": 0, "worse": 0, "p": 1.0}
    assert mcnemar(of([]), of([]))["p"] is None


def test_all_keys_are_there_and_what_is_unknown_is_null() -> None:
    rows = [prediction(model, 0, order, "a") for model in ("warmstart", "released") for order in ("ab", "ba")]
    metrics = measure(table(rows), resamples=50, seed=0)
    assert set(metrics) == {"warmstart", "released", "paired"}
    assert metrics["released"]["test"]["accuracy"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 1}
    assert metrics["released"]["test"]["fidelity"] == {"value": None, "low": None, "high": None, "n": 0}
    assert metrics["released"]["ood"]["accuracy"]["n"] == 0
    assert set(metrics["paired"]) == {"released_vs_warmstart"}


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(150):
        by_prompt = np.repeat(rng.normal(0.6, 0.2, 60), 5)
        rows = pl.DataFrame(
            {"prompt_id": np.repeat(np.arange(60), 5).astype(str), "x": by_prompt + rng.normal(0, 0.1, 300)}
        )
        found = bootstrap(rows, "x", resamples=400, seed=1)
        covered.append(found["low"] <= 0.6 <= found["high"])
    assert 0.86 <= np.mean(covered) <= 0.99, "pairs of one prompt drawn apart would cover far less"


def test_pairing_removes_what_both_models_share() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(300)
    frame = {"pair_id": [str(i) for i in range(300)], "prompt_id": [str(i) for i in range(300)]}
    first, second = (pl.DataFrame(frame | {"x": hard + shift}) for shift in (0.05, 0.0))
    found = paired(first, second, "x", resamples=300, seed=0)
    assert found["value"] == pytest.approx(0.05)
    assert found["high"] - found["low"] < 1e-5
    alone = bootstrap(first, "x", resamples=300, seed=0)
    assert alone["high"] - alone["low"] > 0.05


def test_references_by_hand() -> None:
    def pair(name: str, split: str, label: str, model_a: str, model_b: str) -> dict[str, Any]:
        values: dict[str, Any] = dict.fromkeys(PAIR.names())
        return values | {
            "pair_id": name,
            "prompt_id": name,
            "split": split,
            "label": label,
            "model_a": model_a,
            "model_b": model_b,
            "image_a": "first",
            "image_b": "second",
        }

    pairs = pl.DataFrame(
        [
            pair("t1", "train", "a", "x", "y"),
            pair("t2", "train", "b", "z", "x"),
            pair("e1", "test", "b", "y", "x"),
            pair("e2", "test", "a", "y", "x"),
        ],
        schema=PAIR,
    )
    said = {"e1": "bbB", "e2": "aa"}  # B: chose the second of the images, which were shown the other way round
    votes = pl.DataFrame(
        [
            dict.fromkeys(VOTE.names())
            | {"pair_id": name, "prompt_id": name, "annotator_id": str(n), "choice": choice.lower()}
            | {"image_a": "second" if choice.isupper() else "first"}
            for name, choices in said.items()
            for n, choice in enumerate(choices)
        ],
        schema=VOTE,
    )
    found = references(pairs, votes, resamples=50, seed=0)
    assert found["always_a"]["test"]["value"] == 0.5
    assert found["majority_generator"]["test"]["value"] == 0.5, "x won both times in training: right on e1, wrong on e2"
    # e1: each b-voter faces one a and one b (even, left out); the a-voter faces two b (disagrees). e2: both agree.
    assert found["held_out_rater"]["test"]["value"] == 0.5
    assert found["held_out_rater"]["val"]["n"] == 0
