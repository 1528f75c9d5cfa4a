"""From small tables to everything that `metrics.json` and `data/measure` hold."""

import json
from typing import Any

import polars as pl
import pytest
import yaml

from suasion.evaluation.measure import measure_all
from suasion.evaluation.protocols import PROTOCOLS
from suasion.params import ROOT
from suasion.records import EVALUATED, HEARD, PAIR, PREDICTION, SAMPLED, VOTE

COLUMNS = {
    "calibration": ["model", "split", "confidence", "accuracy", "n"],
    "abstention": ["model", "split", "coverage", "accuracy", "low", "high"],
    "consistency": ["model", "k", "accuracy", "low", "high"],
    "breakdown": ["model", "split", "by", "group", "accuracy", "low", "high", "n"],
    "protocols": ["model", "protocol", "value", "n"],
}
P_A = {"warmstart": (0.55, 0.45), "released": (0.9, 0.8)}
"""What a model says of A, shown first and shown second, on a pair whose label is A."""


def frames(labels: dict[str, str]) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Tables of two models and two listeners on pairs with these labels, whose names begin with their split."""
    told, heard, pairs = [], [], []
    for name, label in labels.items():
        split = name.split("-")[0]
        shared = {"pair_id": name, "prompt_id": name, "split": split, "label": label}
        empty: dict[str, Any] = dict.fromkeys(PAIR.names())
        pairs.append(
            empty
            | shared
            | {"prompt": "two foxes", "source": "s", "p_a": 0.9, "n_votes": 4, "model_a": "x", "model_b": "y"}
        )
        for model, answers in P_A.items():
            for order, p in zip(("ab", "ba"), answers, strict=True):
                p_a = {"a": p, "b": 1 - p, "tie": 0.5}[label]
                choice = "a" if p_a >= 0.5 else "b"
                said = {"completion": "x", "explanation": "one two", "choice": choice, "p_a": p_a}
                row: dict[str, Any] = dict.fromkeys(PREDICTION.names())
                told.append(row | shared | said | {"model": model, "order": order, "correct": choice == label})
                for listener, other in (("listener", False), ("warmstart", order == "ab")):
                    named = {"model": model, "pair_id": name, "order": order, "listener": listener}
                    heard.append(named | {"p_a": 0.7, "contradiction": other})
    sampled = [
        {key: row[key] for key in ("model", "pair_id", "prompt_id", "split", "label", "order", "choice")}
        | {"sample": n}
        for n in range(8)
        for row in told
        if row["model"] == "released" and row["split"] == "test"
    ]
    return (
        pl.DataFrame(told, schema=PREDICTION),
        pl.DataFrame(heard, schema=HEARD),
        pl.DataFrame(sampled, schema=SAMPLED),
        pl.DataFrame(pairs, schema=PAIR),
        pl.DataFrame(schema=VOTE),
    )


LABELS = {"val-1": "a", "val-2": "tie", "test-1": "a", "test-2": "b", "test-3": "tie"}


def test_everything_is_there_and_is_a_number_or_null() -> None:
    metrics, tables = measure_all(*frames(LABELS), resamples=50, seed=0)
    json.dumps(metrics, allow_nan=False)
    assert {name: table.columns for name, table in tables.items()} == COLUMNS
    for model in P_A:
        assert set(metrics[model]["protocols"]) == set(PROTOCOLS)
        for split in EVALUATED:
            assert {"accuracy", "words", "brier", "ece", "tie_aware", "contradiction_by"} <= set(metrics[model][split])
            assert set(metrics[model][split]["brier"]) == {"value", "low", "high", "n"}
    assert metrics["released"]["ood"]["ece"] == {"value": None, "low": None, "high": None, "n": 0}
    assert set(metrics["protocols_spread"]) == set(P_A)
    assert "self_consistency" not in metrics["warmstart"]
    assert set(metrics["paired"]["released_vs_warmstart"]["test"]["mcnemar"]) == {"better", "worse", "p"}


def test_numbers_by_hand() -> None:
    metrics, tables = measure_all(*frames(LABELS), resamples=50, seed=0)
    released, warm = metrics["released"], metrics["warmstart"]
    assert released["test"]["brier"]["value"] == pytest.approx(0.15**2)
    assert released["test"]["ece"]["value"] == pytest.approx(0.15)
    assert released["test"]["tie_aware"] == {"value": 1.0, "low": 1.0, "high": 1.0, "n": 3}
    assert released["test"]["words"]["value"] == 2.0
    assert {name: one["value"] for name, one in released["test"]["contradiction_by"].items()} == {
        "listener": 0.0,
        "warmstart": 0.5,
    }
    assert released["test"]["contradiction_by"]["listener"]["n"] == 2, "decided pairs"
    assert set(released["protocols"].values()) == {1.0}
    assert metrics["protocols_spread"]["released"] == 0.0
    assert released["self_consistency"]["16"]["value"] == 1.0
    assert warm["protocols"]["pairs"] == 0.5
    assert warm["protocols"]["imagereward"] == 0.0, "both orders together are no preference, which is wrong there"
    assert metrics["protocols_spread"]["warmstart"] == pytest.approx(
        max(warm["protocols"].values()) - min(warm["protocols"].values())
    )
    assert metrics["paired"]["released_vs_warmstart"]["test"]["mcnemar"] == {"better": 2, "worse": 0, "p": 0.5}
    full = tables["abstention"].filter(
        pl.col("model") == "released", pl.col("split") == "test", pl.col("coverage") == 1
    )
    assert full["accuracy"].to_list() == [released["test"]["accuracy"]["value"]]
    groups = tables["breakdown"].filter(pl.col("model") == "released", pl.col("split") == "test")
    assert groups["group"].to_list() == ["counting", "x", "y", "0.4-0.5", "s", "3-4"]


def test_without_samples_or_listeners_there_is_nothing_to_say() -> None:
    predictions, heard, sampled, pairs, votes = frames(LABELS)
    metrics, tables = measure_all(predictions, heard.head(0), sampled.head(0), pairs, votes, resamples=50, seed=0)
    assert metrics["released"]["test"]["contradiction_by"] == {}
    assert metrics["released"]["self_consistency"]["1"]["n"] == 0
    assert tables["consistency"].is_empty()
    assert set(tables) == set(COLUMNS)


def test_a_model_that_nobody_could_hear_has_the_same_keys() -> None:
    predictions, heard, *rest = frames(LABELS)
    metrics, _ = measure_all(predictions, heard.filter(pl.col("model") != "released"), *rest, resamples=50, seed=0)
    nothing = {"value": None, "low": None, "high": None, "n": 0}
    assert metrics["released"]["test"]["contradiction_by"] == {"listener": nothing, "warmstart": nothing}
    assert metrics["warmstart"]["test"]["contradiction_by"]["listener"]["n"] == 2


def test_the_same_tables_give_the_same_bytes() -> None:
    first, second = (measure_all(*frames(LABELS), resamples=50, seed=0) for _ in range(2))
    assert json.dumps(first[0]) == json.dumps(second[0])
    assert {name: table.write_csv() for name, table in first[1].items()} == {
        name: table.write_csv() for name, table in second[1].items()
    }


def test_plots_draw_columns_that_there_are() -> None:
    entries = [next(iter(entry.items())) for entry in yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]]
    drawn = 0
    for _, plot in entries:
        for path, column in plot["y"].items():
            if path.startswith("data/measure/"):
                columns = COLUMNS[path.removeprefix("data/measure/").removesuffix(".csv")]
                assert {plot["x"], column, "model"} <= set(columns)
                assert (ROOT / ".dvc" / "plots" / f"{plot['template']}.json").is_file()
                drawn += 1
    assert drawn == 3
