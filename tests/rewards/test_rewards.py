from typing import Any

import numpy as np
import pytest

from suasion.listener.local import LocalListener
from suasion.rewards.accuracy import accuracy_reward
from suasion.rewards.format import format_reward
from suasion.rewards.listener import ListenerReward
from suasion.world.lessons import contrast, explanation
from suasion.world.scenes import draw


def said(text: str) -> list[dict[str, str]]:
    """A completion as TRL hands it over for conversational prompts."""
    return [{"role": "assistant", "content": text}]


GOOD = "<think> red is asked for </think><answer> 1 </answer>"
BAD = "the answer is 1"


def test_format_is_exact() -> None:
    assert format_reward([said(GOOD), said(BAD), GOOD]) == [1.0, 0.0, 1.0]


def test_accuracy_is_the_label_half_on_a_tie_and_nothing_without_an_answer() -> None:
    assert accuracy_reward([said(GOOD)] * 3 + [said(BAD)] * 2, label=[1, 2, 0, 1, 0]) == [1.0, 0.0, 0.5, 0.0, 0.0]


def test_a_missing_label_is_an_error_and_no_reward() -> None:
    with pytest.raises(ValueError, match="shorter|longer|argument"):
        accuracy_reward([said(GOOD)] * 2, label=[1])


def test_listener_reward_is_the_probability_of_the_label(processor: Any, tiny_model: Any) -> None:
    listener = LocalListener(tiny_model(), processor, batch_size=4)
    rng = np.random.default_rng(0)
    prompt, scenes, _ = contrast(rng)
    images = [draw(scenes[0], rng, size=32), draw(scenes[1], rng, size=32)]
    text = f"<think> {explanation(prompt, *scenes)} </think><answer> 1 </answer>"
    metrics: dict[str, float] = {}
    rewards = ListenerReward(listener)(
        [said(text), said(text), said(text), said(BAD)],
        question=[str(prompt)] * 4,
        images=[images] * 4,
        label=[1, 2, 0, 1],
        prior=[0.5] * 4,
        log_metric=metrics.__setitem__,
    )
    assert rewards[0] + rewards[1] == pytest.approx(1.0)
    assert 0.0 < rewards[0] < 1.0
    assert rewards[2:] == [0.5, 0.0]
    assert metrics["listener_gain"] == pytest.approx((rewards[0] + rewards[1] + 0.5) / 3 - 0.5)
    assert metrics["contradiction"] in (0.0, 1.0)


def test_the_answer_does_not_reach_the_listener(processor: Any, tiny_model: Any) -> None:
    """The reward of two completions that differ in their answer alone is the same number."""
    listener = LocalListener(tiny_model(), processor, batch_size=4)
    rng = np.random.default_rng(1)
    prompt, scenes, _ = contrast(rng)
    images = [draw(scene, rng, size=32) for scene in scenes]
    texts = [f"<think> {explanation(prompt, *scenes)} </think><answer> {answer} </answer>" for answer in (1, 2)]
    rewards = ListenerReward(listener)(
        [said(text) for text in texts],
        question=[str(prompt)] * 2,
        images=[images] * 2,
        label=[1, 1],
        prior=[0.5, 0.5],
    )
    assert rewards[0] == pytest.approx(rewards[1], abs=1e-6)
