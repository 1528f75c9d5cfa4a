from typing import Any

import polars as pl
import pytest

from suasion.evaluation.breakdown import SCHEMA, breakdown, category, groups
from suasion.records import PAIR


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Two cats on a sofa", "counting"),
        ("two red not blue circles top left", "counting"),  # the first that fits
        ("12 monkeys", "counting"),
        ("one red not blue circle", "negation"),
        ("a street without cars", "negation"),
        ("a man who doesn't smile", "negation"),
        ('a poster that says "hello"', "text"),
        ("a shop sign", "text"),
        ("a cat behind a tree", "spatial"),
        ("a castle, oil painting", "style"),
        ("3d fox", "style"),
        ("a woman", "person"),
        ("a Woman in the style of Monet", "style"),
        ("a fox", "other"),
        ("artichokes and notes for the bottomless kingdom", "other"),  # words, not parts of words
        ("", "other"),
    ],
)
def test_categories(prompt: str, expected: str) -> None:
    assert category(prompt) == expected


def pair(name: str, **changes: Any) -> dict[str, Any]:
    empty: dict[str, Any] = dict.fromkeys(PAIR.names())
    return (
        empty
        | {"pair_id": name, "prompt_id": name, "prompt": "a fox", "source": "s", "p_a": 0.9, "n_votes": 3}
        | changes
    )


PAIRS = pl.DataFrame(
    [
        pair("1", model_a="x", model_b="y", p_a=1.0, n_votes=2),
        pair("2", model_a="x", model_b="x", p_a=0.5, n_votes=20),
        pair("3", model_a=None, model_b="y", p_a=0.25, n_votes=9, prompt="two foxes"),
        pair("4", source="t"),
    ],
    schema=PAIR,
)


def test_groups_by_hand() -> None:
    found = {by: rows.sort("pair_id")["group"].to_list() for (by,), rows in groups(PAIRS).group_by("by")}
    assert found == {
        "source": ["s", "s", "s", "t"],
        "generator": ["x", "y", "x", "y"],
        "category": ["other", "other", "counting", "other"],
        "margin": ["0.4-0.5", "0.0-0.1", "0.2-0.3", "0.4-0.5"],
        "votes": ["1-2", "20+", "5-9", "3-4"],
    }


def test_breakdown_by_hand() -> None:
    values = pl.DataFrame({"pair_id": list("123"), "prompt_id": list("123"), "accuracy": [1.0, 0.5, 0.0]})
    table = breakdown(values, PAIRS, resamples=50, seed=0)
    assert table.columns == list(SCHEMA)
    found = {(row["by"], row["group"]): (row["accuracy"], row["n"]) for row in table.to_dicts()}
    assert found["source", "s"] == (0.5, 3)
    assert found["generator", "x"] == (0.75, 2)
    assert found["generator", "y"] == (0.5, 2)
    assert found["category", "counting"] == (0.0, 1)
    assert ("source", "t") not in found, "nobody was asked about it"
    assert breakdown(values.head(0), PAIRS, resamples=50, seed=0).is_empty()
