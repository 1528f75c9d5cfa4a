"""What the benchmarks of GRPO and of the listener count, at a small size, against a formula that is written out here."""

from typing import Any

import pytest

from benchmarks import grpo, listener
from benchmarks.models import SMALL, model_of, noise, processor_for, words
from suasion.listener.local import Hearing

PROMPT, REPLY, GROUP = 120, 24, 4


@pytest.fixture(scope="module")
def counted() -> dict[str, Any]:
    with grpo.trainers(PROMPT, REPLY, GROUP) as (found, processor):
        inputs = grpo.a_group(found["stock"], processor, REPLY, GROUP)
        executed = {
            kind: grpo.count_flops(lambda kind=kind: grpo.train_once(found[kind], inputs)) for kind in grpo.KINDS
        }  # type: ignore[misc]
        model = found["stock"].model
        return executed | {
            "config": model.config,
            "prompt": inputs["prompt_ids"].shape[1],
            "grids": inputs["image_grid_thw"][:2].tolist(),
            "necessary": grpo.necessary(model, inputs, REPLY, GROUP),
            "predicted": grpo.predicted(model, inputs, GROUP, REPLY),
        }


def written_out(counted: dict[str, Any], copies: int) -> float:
    """Forward and twice as much backward of a group, prompt and images `copies` times, attention over whole squares."""
    text, vision = counted["config"].text_config, counted["config"].vision_config
    wide, deep, prompt = text.hidden_size, text.num_hidden_layers, counted["prompt"]
    layer = 4 * wide * wide + 3 * wide * text.intermediate_size
    tokens = copies * prompt + GROUP * REPLY
    decoder = 2 * deep * layer * tokens + 4 * deep * wide * (copies * prompt**2 + GROUP * REPLY * (prompt + REPLY))
    head = 2 * wide * text.vocab_size * GROUP * REPLY
    images = 0.0
    for _, height, width in counted["grids"]:
        patches, size = height * width, vision.hidden_size
        block = 4 * size * size + 3 * size * vision.intermediate_size
        merger = (4 * size) ** 2 + 4 * size * wide
        embedding = 3 * vision.temporal_patch_size * vision.patch_size**2 * size
        images += 2 * (vision.depth * block + embedding) * patches + 2 * merger * patches / 4
        window = (vision.window_size // vision.patch_size) ** 2
        full = len(vision.fullatt_block_indexes)
        images += 4 * size * patches * (full * patches + (vision.depth - full) * min(window, patches))
    return 3 * (decoder + head + copies * images)


def test_what_is_executed_is_what_a_prompt_once_and_a_prompt_each_take(counted: dict[str, Any]) -> None:
    assert counted["grouped"] == pytest.approx(written_out(counted, 1), rel=0.05)
    assert counted["stock"] == pytest.approx(written_out(counted, GROUP), rel=0.05)


def test_the_necessary_is_within_what_is_written_out(counted: dict[str, Any]) -> None:
    """Causal attention is half a square in it, and a square where it is written out."""
    assert 0.9 * written_out(counted, 1) < counted["necessary"] < 1.02 * written_out(counted, 1)


def test_the_prediction_is_the_ratio_of_what_is_executed(counted: dict[str, Any]) -> None:
    assert counted["predicted"] == pytest.approx(counted["stock"] / counted["grouped"], rel=0.05)


def test_the_two_listeners_agree() -> None:
    processor = processor_for(64)
    model, pair = model_of(processor, SMALL), (noise(64, 0), noise(64, 1))
    group = [Hearing("two red stars", *pair, words(12 + number, number)) for number in range(3)]
    seconds, difference = listener.compare(model, processor, group, 8, rounds=2)
    assert difference < 1e-5
    assert {name: len(values) for name, values in seconds.items()} == {"one by one": 2, "shared": 2}
    assert 1.5 < listener.predicted(model, processor, group) < 3
