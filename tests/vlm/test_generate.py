from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from suasion.listener.local import answer_slot
from suasion.vlm.chat import parse_completion, reasoner_messages
from suasion.vlm.generate import Request, complete, complete_with_answers
from suasion.vlm.inputs import prompt_inputs, render
from suasion.world.scenes import draw, random_scene

SETTINGS: dict[str, Any] = {"max_new_tokens": 24, "batch_size": 3}


@pytest.fixture
def requests() -> list[Request]:
    rng = np.random.default_rng(0)
    prompts = ["one star", "two not three star", "one star", "three one two star", "two star"]
    return [Request(text, *(draw(random_scene(rng, groups=1), rng, size=32) for _ in "ab")) for text in prompts]


def test_watching_changes_no_completion(
    processor: Any, tiny_model: Callable[..., Any], requests: list[Request]
) -> None:
    model = tiny_model()
    _, choices = answer_slot(processor)
    watched = complete_with_answers(model, processor, requests, choices, **SETTINGS)
    assert [found.text for found in watched] == complete(model, processor, requests, **SETTINGS)
    assert all(found.p_first is None for found in watched if parse_completion(found.text) is None)


def test_the_probability_is_that_of_a_forward_over_the_completion(
    processor: Any, talker: Any, requests: list[Request]
) -> None:
    """Teacher-forced, one request at a time and so without padding: the same two logits at the answer's place."""
    _, choices = answer_slot(processor)
    found = complete_with_answers(talker, processor, requests, choices, **SETTINGS)
    assert [completion.text for completion in found] == complete(talker, processor, requests, **SETTINGS)
    parsed = [parse_completion(completion.text) for completion in found]
    assert sum(parts is not None for parts in parsed) >= 3, "the model was taught the grammar"
    for request, completion, parts in zip(requests, found, parsed, strict=True):
        if parts is None:
            assert completion.p_first is None
            continue
        before = completion.text[: completion.text.rindex(str(parts[1]))]
        text = render(processor, reasoner_messages(request.prompt), before)
        inputs = prompt_inputs(processor, [text], [(request.first, request.second)], torch.device("cpu"))
        with torch.no_grad():
            logits = talker(**inputs).logits[0, -1, choices].double()
        assert completion.p_first == pytest.approx(float(torch.softmax(logits, dim=-1)[0]), abs=1e-4)
        assert (completion.p_first >= 0.5) == (parts[1] == 1), "greedy: the likelier answer was given"
