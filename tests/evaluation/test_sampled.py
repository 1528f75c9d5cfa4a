from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from suasion.evaluation.sampled import sample_answers
from suasion.params import ROOT, Params, load_params
from suasion.records import SAMPLED
from suasion.shards.sample import Sample
from suasion.vlm.generate import Request, complete
from suasion.vlm.load import save


def params(**changes: Any) -> Params:
    content = load_params(ROOT / "profiles" / "world.yaml").model_dump(by_alias=True)
    content["evaluate"] |= {"samples": 8, "batch_size": 8} | changes
    return Params.model_validate(content)


@pytest.fixture
def reasoner(tmp_path: Path, processor: Any, talker: Any) -> Path:
    save(talker, processor, tmp_path / "reasoner")
    return tmp_path / "reasoner"


def test_every_pair_has_its_answers_half_of_them_in_either_order(reasoner: Path, four_samples: list[Sample]) -> None:
    drawn = sample_answers(reasoner, four_samples, name="released", params=params())
    assert dict(drawn.schema) == dict(SAMPLED)
    for pair in four_samples:
        own = drawn.filter(pl.col("pair_id") == pair.pair["pair_id"])
        assert own["sample"].to_list() == [*range(8)]
        assert own["order"].to_list() == ["ab", "ba"] * 4
    assert {"a", "b"} <= {*drawn["choice"]}, "they differ"


def test_the_same_seed_draws_the_same_and_another_does_not(reasoner: Path, four_samples: list[Sample]) -> None:
    first = sample_answers(reasoner, four_samples, name="released", params=params())
    assert first.equals(sample_answers(reasoner, four_samples, name="released", params=params()))
    other = params().model_copy(update={"seed": 99})
    assert not first.equals(sample_answers(reasoner, four_samples, name="released", params=other))


def test_answers_are_drawn_as_without_shared_prompts(
    reasoner: Path, four_samples: list[Sample], processor: Any, tiny_model: Callable[..., Any]
) -> None:
    """Shares of the choice over many draws, against completions of one prompt each."""
    from suasion.vlm.chat import parse_completion
    from suasion.vlm.load import load_model

    many = 64
    sample = four_samples[0]
    drawn = sample_answers(reasoner, [sample], name="released", params=params(samples=2 * many, batch_size=256))
    shared = drawn.filter(pl.col("order") == "ab")["choice"]
    asked = [Request(sample.pair["prompt"], sample.open_a(), sample.open_b())] * many
    said = complete(load_model(reasoner), processor, asked, max_new_tokens=96, batch_size=many, temperature=1.0)
    alone = [None if (parts := parse_completion(text)) is None else "ab"[parts[1] - 1] for text in said]
    for choice in ("a", "b"):
        one, other = (sum(found == choice for found in row) / many for row in (shared, alone))
        assert abs(one - other) < 4 * (0.5 / many) ** 0.5, (choice, one, other)
