from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from suasion.evaluation.predict import predict
from suasion.params import ROOT, load_params
from suasion.records import HEARD, PREDICTION
from suasion.shards.sample import Sample
from suasion.vlm.load import save


def test_every_pair_is_asked_in_both_orders_and_exchanging_its_images_exchanges_the_probabilities(
    tmp_path: Path, processor: Any, talker: Any, tiny_model: Callable[..., Any], four_samples: list[Sample]
) -> None:
    save(talker, processor, tmp_path / "reasoner")
    save(tiny_model(), processor, tmp_path / "listener")
    params = load_params(ROOT / "profiles" / "world.yaml")

    def ask(asked: list[Sample]) -> dict[tuple[str, str], dict[str, Any]]:
        listeners = {"listener": tmp_path / "listener", "warmstart": tmp_path / "reasoner"}
        table, heard = predict(tmp_path / "reasoner", listeners, asked, name="released", params=params)
        assert dict(table.schema) == dict(PREDICTION)
        assert dict(heard.schema) == dict(HEARD)
        of_first = table.drop_nulls("choice").select(
            "pair_id", "order", p_a="listener_p_a", contradiction="contradiction"
        )
        assert heard.filter(pl.col("listener") == "listener").select(of_first.columns).equals(of_first)
        assert heard.height == 2 * of_first.height
        assert heard["p_a"].n_unique() > of_first.height, "listeners differ"
        assert table["label"].to_list() == ["a", "a", "b", "b", "a", "a", "tie", "tie"], "ties are asked last"
        return {(row["pair_id"], row["order"]): row for row in table.to_dicts()}

    found = ask(four_samples)
    other = ask([Sample(sample.pair, sample.image_b, sample.image_a, None, None) for sample in four_samples])
    assert sum(row["p_a"] is not None for row in found.values()) >= 4, "the model was taught the grammar"
    for (pair, order), row in found.items():
        assert (row["p_a"] is None) == (row["choice"] is None)
        assert row["correct"] == (row["choice"] == row["label"])
        if row["p_a"] is not None:
            assert (row["p_a"] >= 0.5) == (row["choice"] == "a")
            same = other[pair, order[::-1]]
            assert same["completion"] == row["completion"]
            assert same["p_a"] == pytest.approx(1 - row["p_a"], abs=1e-5)
