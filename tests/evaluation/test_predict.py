from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suasion.evaluation.predict import predict
from suasion.params import ROOT, load_params
from suasion.records import PAIR, PREDICTION
from suasion.shards.sample import Sample
from suasion.vlm.load import save
from suasion.world.scenes import draw, encode, random_scene

LABELS = ("a", "tie", "b", "a")


@pytest.fixture
def samples() -> list[Sample]:
    rng = np.random.default_rng(1)
    made = []
    for number, label in enumerate(LABELS):
        values: dict[str, Any] = dict.fromkeys(PAIR.names())
        values |= {"pair_id": f"p{number}", "prompt_id": f"q{number}", "prompt": f"{number} stars", "split": "test"}
        a, b = (encode(draw(random_scene(rng, groups=1), rng)) for _ in "ab")
        made.append(Sample(values | {"label": label}, a, b, None, None))
    return made


def test_every_pair_is_asked_in_both_orders_and_exchanging_its_images_exchanges_the_probabilities(
    tmp_path: Path, processor: Any, talker: Any, tiny_model: Callable[..., Any], samples: list[Sample]
) -> None:
    save(talker, processor, tmp_path / "reasoner")
    save(tiny_model(), processor, tmp_path / "listener")
    params = load_params(ROOT / "profiles" / "world.yaml")

    def ask(asked: list[Sample]) -> dict[tuple[str, str], dict[str, Any]]:
        table = predict(tmp_path / "reasoner", tmp_path / "listener", asked, name="released", params=params)
        assert dict(table.schema) == dict(PREDICTION)
        assert table["label"].to_list() == ["a", "a", "b", "b", "a", "a", "tie", "tie"], "ties are asked last"
        return {(row["pair_id"], row["order"]): row for row in table.to_dicts()}

    found = ask(samples)
    other = ask([Sample(sample.pair, sample.image_b, sample.image_a, None, None) for sample in samples])
    assert sum(row["p_a"] is not None for row in found.values()) >= 4, "the model was taught the grammar"
    for (pair, order), row in found.items():
        assert (row["p_a"] is None) == (row["choice"] is None)
        assert row["correct"] == (row["choice"] == row["label"])
        if row["p_a"] is not None:
            assert (row["p_a"] >= 0.5) == (row["choice"] == "a")
            same = other[pair, order[::-1]]
            assert same["completion"] == row["completion"]
            assert same["p_a"] == pytest.approx(1 - row["p_a"], abs=1e-5)
