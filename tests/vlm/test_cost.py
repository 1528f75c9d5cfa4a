"""The formula against torch's own count. Eager attention, since the counter sees nothing inside fused kernels."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Qwen2_5_VLForConditionalGeneration

from suasion.vlm.chat import reasoner_messages
from suasion.vlm.cost import cost_of
from suasion.vlm.inputs import prompt_inputs, render
from suasion.world.scenes import draw, random_scene
from suasion.world.tiny import build_model

SHAPES = {
    "plain": {"hidden": 64, "layers": 2, "vision_hidden": 32, "vision_depth": 2},
    "deep": {"hidden": 96, "layers": 5, "vision_hidden": 64, "vision_depth": 5},
    "wide": {"hidden": 256, "layers": 1, "vision_hidden": 32, "vision_depth": 1},
}


@pytest.fixture(params=[*SHAPES, "shared keys and values", "full attention twice"])
def model(request: pytest.FixtureRequest, processor: Any) -> Any:
    """Tiny models of several shapes, by eager attention."""
    built = build_model(processor, seed=0, **SHAPES.get(request.param, SHAPES["deep"]))
    config = built.config
    if request.param == "shared keys and values":
        config.text_config.num_key_value_heads = 1
    if request.param == "full attention twice":
        config.vision_config.fullatt_block_indexes = [1, 4]
    config._attn_implementation = "eager"
    return Qwen2_5_VLForConditionalGeneration(config).eval()


def counted(run: Any) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@torch.no_grad()
@pytest.mark.parametrize("cached", [0, 150])
def test_tokens(model: Any, cached: int) -> None:
    new, cost = 90, cost_of(model)
    ids = torch.randint(10, 300, (1, cached + new))
    past = model(ids[:, :cached], use_cache=True).past_key_values if cached else None
    masked = 2 * cost.attention * new**2  # eager computes what the causal mask takes away
    flops = counted(lambda: model(ids[:, cached:], past_key_values=past))
    assert flops == pytest.approx(cost.tokens(new, cached) + masked, rel=0.02)


@torch.no_grad()
@pytest.mark.parametrize(("rows", "columns"), [(4, 4), (8, 8), (16, 12), (2, 2)])
def test_an_image(model: Any, rows: int, columns: int) -> None:
    """Windows of 4 x 4 patches, one and several."""
    patches = torch.randn(rows * columns, 3 * 2 * 8 * 8)
    grid = torch.tensor([[1, rows, columns]])
    flops = counted(lambda: model.model.visual(patches, grid_thw=grid))
    assert flops == pytest.approx(cost_of(model).image(rows * columns), rel=0.02)


def test_a_whole_forward_and_its_backward(model: Any, processor: Any) -> None:
    rng = np.random.default_rng(0)
    images = [draw(random_scene(rng, groups=2), rng, size=32) for _ in range(2)]
    text = render(processor, reasoner_messages("one red circle top left"))
    inputs = prompt_inputs(processor, [text], [images], torch.device("cpu"))
    cost, tokens = cost_of(model), inputs["input_ids"].shape[1]
    patches = int(inputs["image_grid_thw"].prod(dim=1)[0])
    forward = cost.tokens(tokens) + 2 * cost.attention * tokens**2 + 2 * cost.image(patches)
    with torch.no_grad():
        assert counted(lambda: model(**inputs)) == pytest.approx(forward, rel=0.02)
    # No gradient goes on to the pixels: the patch embedding has one product less.
    embedding = model.model.visual.patch_embed.proj.weight.numel() * 2 * 2 * patches
    both = counted(lambda: model(**inputs, labels=inputs["input_ids"]).loss.backward())
    assert both == pytest.approx(3 * forward - embedding, rel=0.02)


def test_cached_tokens_cost_attention_alone(model: Any) -> None:
    cost = cost_of(model)
    assert cost.tokens(60) + cost.tokens(40, cached=60) == pytest.approx(cost.tokens(100))


def test_shapes_are_enough(model: Any) -> None:
    with torch.device("meta"):
        outline = type(model)(model.config)
    assert cost_of(outline) == cost_of(model)
