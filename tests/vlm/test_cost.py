from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from suasion.vlm.chat import reasoner_messages
from suasion.vlm.cost import cost_of
from suasion.vlm.inputs import prompt_inputs, render
from suasion.world.scenes import draw, random_scene


def test_the_formula_agrees_with_counted_operations(processor: Any, tiny_model: Any) -> None:
    """Eager attention, so that every product is counted; causal attention counts as half in the formula."""
    model = tiny_model()
    model.set_attn_implementation("eager")
    rng = np.random.default_rng(0)
    images = [draw(random_scene(rng, groups=2), rng, size=32) for _ in range(2)]
    text = render(processor, reasoner_messages("one red circle top left"))
    inputs = prompt_inputs(processor, [text], [images], torch.device("cpu"))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(**inputs)
    cost, tokens = cost_of(model), inputs["input_ids"].shape[1]
    patches = int(inputs["image_grid_thw"].prod(dim=1)[0])
    full_attention = cost.tokens(tokens) + 2 * cost.attention * tokens**2
    assert counter.get_total_flops() == pytest.approx(full_attention + 2 * cost.image(patches), rel=0.1)


def test_cached_tokens_cost_attention_alone(tiny_model: Any) -> None:
    cost = cost_of(tiny_model())
    whole = cost.tokens(100)
    in_two_steps = cost.tokens(60) + cost.tokens(40, cached=60)
    assert in_two_steps == pytest.approx(whole)
