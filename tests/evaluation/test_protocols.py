"""Counting rules, against values worked out by hand and ImageReward's published test file, and by what never changes them."""

import json
from functools import cache
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suasion.evaluation.bootstrap import bootstrap
from suasion.evaluation.metrics import per_pair
from suasion.evaluation.protocols import JUDGED, PROTOCOLS, from_predictions, from_ranking
from suasion.evaluation.protocols.pickapic import points, unique
from suasion.params import data_folder
from suasion.records import PREDICTION

EMPTY = pl.DataFrame(schema=JUDGED)
OTHER = {"a": "b", "b": "a", "tie": "tie", "both_bad": "both_bad", None: None}
RULES = st.sampled_from(list(PROTOCOLS))


def judged(*rows: tuple[str, str, float | None]) -> pl.DataFrame:
    """Rows of prompt, label and preference, both orders answered by the side that is preferred."""
    named = []
    for number, (prompt, label, preference) in enumerate(rows):
        answer = None if preference is None else "a" if preference > 0 else "b" if preference < 0 else "tie"
        named.append((f"pair-{number}", prompt, label, preference, answer, answer))
    return pl.DataFrame(named, schema=JUDGED, orient="row")


PAIRS = st.lists(
    st.tuples(
        st.sampled_from("pqr"),
        st.sampled_from(["a", "b", "tie", "both_bad"]),
        st.one_of(st.none(), st.integers(-8, 8).map(lambda step: step / 8)),
    ),
    max_size=25,
).map(lambda rows: judged(*rows))


def swapped(table: pl.DataFrame) -> pl.DataFrame:
    """The same pairs with A and B exchanged."""
    rows = [
        {
            "pair_id": row["pair_id"],
            "prompt_id": row["prompt_id"],
            "label": OTHER[row["label"]],
            "preference": row["preference"] and -row["preference"],
            "ab": OTHER[row["ba"]],
            "ba": OTHER[row["ab"]],
        }
        for row in table.to_dicts()
    ]
    return pl.DataFrame(rows, schema=JUDGED)


BY_HAND = judged(
    ("p", "a", 0.9),  # right
    ("p", "b", 0.4),  # wrong
    ("p", "a", 0.0),  # neither
    ("p", "tie", 0.05),
    ("q", "b", -0.7),  # right
    ("q", "both_bad", -0.9),
    ("r", "tie", 0.0),
    ("s", "a", None),  # no answer
)


@pytest.mark.parametrize(
    ("name", "value", "n"),
    [
        ("imagereward", 2 / 5, 5),
        ("hpdv3", 2 / 5, 5),
        ("hpsv2_imagereward", (1 / 3 + 1 + 0) / 3, 3),
        ("hpdv2", ((1 + 0 + 0.5 + 1) / 4 + 1 + 1 + 0) / 4, 4),
        ("pairs", 2 / 5, 5),
        ("mmrb2", 4 / 8, 8),  # each of the four answered strict pairs twice
        ("genai_bench", 3 / 8, 8),  # without validation only an exact zero is equal: two right sides and one tie
    ],
)
def test_by_hand(name: str, value: float, n: int) -> None:
    found = PROTOCOLS[name](BY_HAND, EMPTY)
    assert found.value == pytest.approx(value)
    assert found.n == n


def test_a_threshold_for_equal_comes_from_validation() -> None:
    tuning = judged(("v", "tie", 0.1), ("v", "both_bad", -0.1), ("v", "a", 0.3), ("v", "b", -0.5))
    assert PROTOCOLS["genai_bench"](BY_HAND, tuning).value == pytest.approx(4 / 8), "0.05 is called equal too"


def test_points_of_pick_a_pic() -> None:
    assert points(BY_HAND, 0.0).tolist() == [1, 0, 0.5, 0.5, 1, 0.5, 1, 0]
    assert points(BY_HAND, 0.1).tolist() == [1, 0, 0.5, 1, 1, 0.5, 1, 0]
    assert points(BY_HAND, 1.0).tolist() == [0.5, 0.5, 0.5, 1, 0.5, 1, 1, 0]


def test_pick_a_pic_takes_one_pair_of_each_prompt_and_its_threshold_from_validation() -> None:
    rows = [(f"prompt-{number}", "tie", 0.15) for number in range(5)]
    found = PROTOCOLS["pickapic"](judged(*rows, *rows), judged(*rows))
    assert (found.value, found.n) == (1.0, 5)
    assert PROTOCOLS["pickapic"](judged(*rows), EMPTY).value == 0.5, "nothing says that 0.15 is a tie"
    swap = swapped(BY_HAND)
    assert set(unique(swap)["pair_id"]) == set(unique(BY_HAND)["pair_id"]), "the choice knows nothing of the labels"


def test_both_orders_count_apart_in_mmrb2_and_what_is_missing_is_left_out() -> None:
    rows = [("1", "p", "a", 0.1, "a", "b"), ("2", "p", "b", -0.3, "b", None)]
    table = pl.DataFrame(rows, schema=JUDGED, orient="row")
    assert PROTOCOLS["mmrb2"](table, EMPTY) == (pytest.approx(2 / 3), 3)
    assert PROTOCOLS["pairs"](table, EMPTY) == (0.5, 2), "wrong where it does not parse"


@given(RULES, PAIRS)
def test_a_perfect_oracle_is_right_in_every_protocol(name: str, table: pl.DataFrame) -> None:
    sign = {"a": 1.0, "b": -1.0, "tie": 0.0, "both_bad": 0.0}
    oracle = judged(*((row["prompt_id"], row["label"], sign[row["label"]]) for row in table.to_dicts()))
    for tuning in (EMPTY, oracle):
        assert PROTOCOLS[name](oracle, tuning).value in (1.0, None)


@given(RULES, PAIRS, PAIRS)
def test_exchanging_the_sides_of_all_pairs_changes_nothing(
    name: str, table: pl.DataFrame, tuning: pl.DataFrame
) -> None:
    before, after = PROTOCOLS[name](table, tuning), PROTOCOLS[name](swapped(table), swapped(tuning))
    assert before.n == after.n
    assert before.value == pytest.approx(after.value)
    assert before.value is None or 0 <= before.value <= 1


@given(PAIRS, st.randoms())
def test_the_order_of_the_rows_changes_nothing(table: pl.DataFrame, random: Any) -> None:
    rows = table.to_dicts()
    random.shuffle(rows)
    shuffled = pl.DataFrame(rows, schema=JUDGED)
    for protocol in PROTOCOLS.values():
        assert protocol(table, table).value == pytest.approx(protocol(shuffled, shuffled).value)


@given(st.lists(st.integers(1, 4), min_size=2, max_size=7), st.data())
def test_a_ranking_is_counted_as_the_repositories_count_it(ranking: list[int], data: Any) -> None:
    """Their loops, written out: over all i < j, lower ranks and higher scores are better."""
    scores = data.draw(st.permutations(range(len(ranking))))
    right = strict = discordant = 0
    for i in range(len(ranking)):
        for j in range(i + 1, len(ranking)):
            if ranking[i] != ranking[j]:
                strict += 1
                right += (ranking[i] < ranking[j]) == (scores[i] > scores[j])
                discordant += (ranking[i] < ranking[j]) != (scores[i] > scores[j])
    table = from_ranking("p", ranking, scores)
    count = len(ranking) * (len(ranking) - 1) / 2
    assert PROTOCOLS["hpdv2"](table, EMPTY).value == pytest.approx(1 - discordant / count)
    for name in ("imagereward", "hpsv2_imagereward", "hpdv3"):
        assert PROTOCOLS[name](table, EMPTY).value == (pytest.approx(right / strict) if strict else None)


def test_the_projects_own_accuracy_is_the_protocol_pairs() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for pair in range(40):
        for order in ("ab", "ba"):
            choice = rng.choice(["a", "b", None])
            p_a = None if choice is None else 0.5 + (0.3 if choice == "a" else -0.3)
            empty: dict[str, Any] = dict.fromkeys(PREDICTION.names())
            named = {
                "model": "released",
                "pair_id": str(pair),
                "prompt_id": str(pair // 3),
                "order": order,
                "label": "a",
            }
            rows.append(empty | named | {"choice": choice, "p_a": p_a, "correct": choice == "a"})
    predictions = pl.DataFrame(rows, schema=PREDICTION)
    found = PROTOCOLS["pairs"](from_predictions(predictions), EMPTY)
    assert found.value == pytest.approx(per_pair(predictions)["accuracy"].mean())


@cache
def published() -> list[dict[str, Any]]:
    path = data_folder() / "imagereward-test" / "test.json"
    if not path.is_file():
        pytest.skip("the data are not here: docs/data.md")
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def counted(scores: Any) -> pl.DataFrame:
    """All pairs of the file; `scores` gives those of a prompt's images from its row."""
    rows = published()
    return pl.concat(from_ranking(str(at), row["ranking"], scores(row["ranking"])) for at, row in enumerate(rows))


def test_the_published_file_has_these_pairs() -> None:
    table = counted(lambda ranking: [0] * len(ranking))
    assert PROTOCOLS["imagereward"](table, EMPTY) == (0.0, 6399), "equal scores are wrong"
    assert (table["label"] == "tie").sum() == 831
    assert PROTOCOLS["genai_bench"](table, EMPTY).value == pytest.approx(831 / (6399 + 831))


def test_always_the_first_listed_is_a_model_on_the_published_file() -> None:
    first = counted(lambda ranking: [-at for at in range(len(ranking))])
    assert PROTOCOLS["imagereward"](first, EMPTY).value == pytest.approx(0.590, abs=0.0005)
    values = {name: protocol(first, EMPTY).value for name, protocol in PROTOCOLS.items()}
    assert values["pairs"] == values["mmrb2"] == values["hpdv3"] == values["imagereward"]
    assert values["hpdv2"] > values["imagereward"] + 0.03, "tied labels are right for nothing"


def test_in_seeded_random_order_the_first_is_a_coin_on_the_published_file() -> None:
    rng = np.random.default_rng(7)
    shuffled = counted(lambda ranking: rng.permutation(len(ranking)).tolist())
    rows = shuffled.filter(pl.col("label") != "tie").with_columns(
        right=(pl.col("ab") == pl.col("label")).cast(pl.Float64)
    )
    found = bootstrap(rows, "right", resamples=1000, seed=0)
    assert found["low"] < 0.5 < found["high"]
    assert found["high"] - found["low"] < 0.05
    assert found["value"] == pytest.approx(PROTOCOLS["imagereward"](shuffled, EMPTY).value, abs=1e-6)


def test_a_perfect_oracle_is_right_on_the_published_file() -> None:
    oracle = counted(lambda ranking: [-rank for rank in ranking])
    for name, protocol in PROTOCOLS.items():
        assert protocol(oracle, oracle).value == 1.0, name
