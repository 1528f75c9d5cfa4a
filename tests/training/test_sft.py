"""The baseline's lessons and its compute: what it learns is the voted answer, and it gets what GRPO got."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from suasion.training.rows import Row
from suasion.training.sft import Shuffled, Voted, grpo_flops, sft_flops, voted_lessons
from suasion.vlm.chat import format_completion
from suasion.vlm.cost import Cost
from suasion.world.scenes import draw, encode, parse_scene

COST = Cost(1000, 10, vision_matrices=100, vision_attention=1, vision_windowed=2, window=16)
SIZE = {"prompt": 60.0, "reply": 40.0, "patches": 128.0}


def lessons(count: int) -> list[Voted]:
    return [Voted([], (None, None), str(index)) for index in range(count)]


def test_every_pass_has_every_lesson_once_in_an_order_of_its_own() -> None:
    drawn = [lesson.reply for lesson in Shuffled(lessons(10), 25, seed=0)]
    assert len(drawn) == 25
    assert sorted(drawn[:10]) == sorted(drawn[10:20]) == [str(index) for index in range(10)]
    assert drawn[:10] != drawn[10:20]
    assert max(Counter(drawn).values()) == 3


def test_a_reference_model_costs_one_more_forward() -> None:
    without, with_reference = (
        grpo_flops(COST, COST, completions=8, reference=reference, **SIZE) for reference in (False, True)
    )
    forward = sft_flops(COST, lessons=8, **SIZE) / 3
    assert with_reference - without == pytest.approx(forward)
    # Rollout 1, listener 2, training 3 forwards; the rollout's cached tokens cost what they cost in one go.
    assert without == pytest.approx(6 * forward)


def test_a_lesson_is_the_models_own_explanation_with_the_voted_answer(
    processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = parse_scene("one red circle top left")
    assert scene is not None
    image = encode(draw(scene, np.random.default_rng(0), size=32))
    rows = [Row(str(index), "p", image, image, label, 0.5) for index, label in enumerate((1, 2, 0, 1))]
    said = [format_completion("it is red.", 2), format_completion("it is red.", 2), "no answer at all"]
    monkeypatch.setattr("suasion.training.sft.complete", lambda *_, **__: said)
    learned = [lesson.reply for lesson in voted_lessons(None, processor, rows, max_new_tokens=4, batch_size=2)]
    assert learned == [format_completion("it is red.", 1), format_completion("it is red.", 2)], (
        "ties and completions that do not parse teach nothing"
    )
