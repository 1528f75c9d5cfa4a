"""Prompts that are computed once give what they give when they are computed with everything that follows them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from suasion.vlm.prefix import generating_groups, pack, share_prefixes

IMAGE, START, WORDS = 5, 3, 90
TEXT: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]},
    "tie_word_embeddings": False,
    "pad_token_id": 0,
}
IDS = {"image_token_id": IMAGE, "video_token_id": 6, "vision_start_token_id": START, "vision_end_token_id": 4}
VISION: dict[str, Any] = {
    "depth": 2,
    "num_heads": 2,
    "patch_size": 4,
    "temporal_patch_size": 2,
    "spatial_merge_size": 2,
}


def qwen2() -> Any:
    vision = VISION | {"embed_dim": 16, "hidden_size": 32, "mlp_ratio": 2}
    return Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=TEXT, vision_config=vision, **IDS))


def qwen2_5() -> Any:
    more = {"hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 32, "window_size": 16}
    vision = VISION | more | {"fullatt_block_indexes": [1]}
    return Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=TEXT, vision_config=vision, **IDS))


def qwen3() -> Any:
    more = {"hidden_size": 16, "intermediate_size": 24, "out_hidden_size": 32, "num_position_embeddings": 64}
    vision = VISION | more | {"deepstack_visual_indexes": [0]}
    text = TEXT | {"head_dim": 8, "rope_parameters": TEXT["rope_parameters"] | {"mrope_interleaved": True}}
    return Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **IDS))


MODELS: dict[str, Callable[[], Any]] = {"qwen2": qwen2, "qwen2_5": qwen2_5, "qwen3": qwen3}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    made = MODELS[request.param]()
    for weight in made.parameters():
        torch.nn.init.normal_(weight, std=0.15) if weight.dim() > 1 else None
    share_prefixes(made)
    return made.eval()


def prompts(grids: list[list[tuple[int, int]]], words: list[int], seed: int) -> dict[str, torch.Tensor]:
    """Inputs of one prompt for each of `words`, with images of so many merged patches, padded on the left."""
    draw = torch.Generator().manual_seed(seed)
    rows = []
    for images, count in zip(grids, words, strict=True):
        ids: list[int] = []
        for height, width in images:
            ids += [START, *[IMAGE] * (height * width), 4]
        rows.append(torch.tensor(ids + torch.randint(10, WORDS, (count,), generator=draw).tolist()))
    size = max(len(row) for row in rows)
    padded = torch.stack([torch.cat([torch.zeros(size - len(row), dtype=torch.long), row]) for row in rows])
    mask = torch.stack([torch.cat([torch.zeros(size - len(row)), torch.ones(len(row))]) for row in rows]).long()
    grid = torch.tensor([[1, 2 * height, 2 * width] for images in grids for height, width in images])
    pixels = torch.randn(int(grid.prod(dim=1).sum()), 3 * 2 * 4 * 4, generator=draw)
    types = (padded == IMAGE).int()
    return {
        "input_ids": padded,
        "attention_mask": mask,
        "mm_token_type_ids": types,
        "pixel_values": pixels,
        "image_grid_thw": grid,
    }


def repeated(inputs: dict[str, torch.Tensor], group: int, images: list[int]) -> dict[str, torch.Tensor]:
    """What a model without shared prefixes is given: everything once for every row of a group."""
    found = {
        name: inputs[name].repeat_interleave(group, dim=0)
        for name in ("input_ids", "attention_mask", "mm_token_type_ids")
    }
    grids = torch.split(inputs["image_grid_thw"], images)
    pixels = torch.split(inputs["pixel_values"], [int(grid.prod(dim=1).sum()) for grid in grids])
    found["image_grid_thw"] = torch.cat([grid for grid in grids for _ in range(group)])
    found["pixel_values"] = torch.cat([part for part in pixels for _ in range(group)])
    return found


def both_ways(model: Any, inputs: dict[str, torch.Tensor], followers: torch.Tensor, images: list[int]) -> Any:
    """Log-probabilities (B x group, T, words) over `followers`: everything repeated, and prompts shared."""
    _, group, length = followers.shape
    whole = repeated(inputs, group, images)
    behind = followers.flatten(0, 1)
    whole["input_ids"] = torch.cat([whole["input_ids"], behind], dim=1)
    whole["attention_mask"] = torch.cat([whole["attention_mask"], torch.ones_like(behind)], dim=1)
    types = whole["mm_token_type_ids"]
    whole["mm_token_type_ids"] = torch.cat([types, types.new_zeros(behind.shape)], dim=1)
    apart = model(**whole).logits[:, -length:].log_softmax(dim=-1)
    packed = pack(
        model,
        inputs["input_ids"],
        inputs["attention_mask"],
        followers,
        mm_token_type_ids=inputs["mm_token_type_ids"],
        image_grid_thw=inputs["image_grid_thw"],
    )
    rest = {name: inputs[name] for name in ("pixel_values", "image_grid_thw")}
    return apart, model(**packed, **rest).logits.log_softmax(dim=-1)


side = st.integers(1, 4)
cases = st.tuples(
    st.lists(
        st.tuples(st.lists(st.tuples(side, side), min_size=1, max_size=3), st.integers(1, 9)), min_size=1, max_size=3
    ),
    st.integers(1, 4),
    st.integers(1, 7),
    st.integers(0, 2**16),
)


@settings(max_examples=25)
@given(case=cases)
def test_log_probabilities_and_gradients_are_those_of_prompts_repeated(model: Any, case: Any) -> None:
    rows, group, length, seed = case
    grids, words = [list(images) for images, _ in rows], [count for _, count in rows]
    inputs = prompts(grids, words, seed)
    followers = torch.randint(10, WORDS, (len(rows), group, length), generator=torch.Generator().manual_seed(seed))
    apart, shared = both_ways(model, inputs, followers, [len(images) for images in grids])
    assert (apart - shared).abs().max() < 1e-5
    direction = torch.randn(apart.shape, generator=torch.Generator().manual_seed(seed))
    weights = [*model.parameters()]
    expected = torch.autograd.grad((apart * direction).sum(), weights, allow_unused=True)
    found = torch.autograd.grad((shared * direction).sum(), weights, allow_unused=True)
    scale = max(float(gradient.norm()) for gradient in expected if gradient is not None)
    for one, other in zip(expected, found, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:  # a key's bias, say, has a gradient of nothing but rounding
            assert (one - other).norm() <= 1e-4 * max(float(one.norm()), 1e-3 * scale)


def test_followers_do_not_see_each_other(model: Any) -> None:
    inputs = prompts([[(2, 2)]], [4], 0)
    followers = torch.randint(10, WORDS, (1, 3, 5))
    _, before = both_ways(model, inputs, followers, [1])
    followers[:, 1] = 7
    _, after = both_ways(model, inputs, followers, [1])
    assert torch.equal(before[[0, 2]], after[[0, 2]])
    assert not torch.allclose(before[1], after[1])


@pytest.mark.parametrize("sampled", [False, True])
def test_groups_that_are_generated_are_those_of_prompts_repeated(model: Any, sampled: bool) -> None:
    grids = [[(2, 3), (1, 2)], [(4, 1)], [(2, 2), (3, 3), (1, 1)]]
    inputs = prompts(grids, [3, 9, 5], 1)
    options = GenerationConfig(max_new_tokens=70, do_sample=sampled, eos_token_id=9, pad_token_id=0, top_k=0)
    torch.manual_seed(4)
    expected = model.generate(**repeated(inputs, 4, [len(images) for images in grids]), generation_config=options)
    seen = []
    hook = model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["inputs_embeds"].shape[:2]), with_kwargs=True
    )
    torch.manual_seed(4)
    with generating_groups(model, 4):
        found = model.generate(**inputs, generation_config=options)
    hook.remove()
    assert torch.equal(expected, found)
    size = inputs["input_ids"].shape[1]
    assert seen[:2] == [(3, size - 1), (12, 1)], "each prompt is computed once, then a token for every row"
    assert {*seen[1:]} == {(12, 1)}
    assert torch.equal(expected[:, :size], inputs["input_ids"].repeat_interleave(4, dim=0))


def test_prompts_without_images_are_generated_from_too(model: Any) -> None:
    options = GenerationConfig(max_new_tokens=6, do_sample=False, eos_token_id=9, pad_token_id=0)
    with generating_groups(model, 2):  # leaves what it knows of positions behind
        model.generate(**prompts([[(3, 3)]], [4], 0), generation_config=options)
    ids = torch.randint(10, WORDS, (2, 7))
    ids[0, :4] = 0
    words = {"input_ids": ids, "attention_mask": (ids > 0).long()}
    twice = {name: rows.repeat_interleave(2, dim=0) for name, rows in words.items()}
    expected = model.generate(**twice, generation_config=options)
    with generating_groups(model, 2):
        found = model.generate(**words, generation_config=options)
    assert torch.equal(expected, found)


def test_gradient_checkpointing_changes_nothing(model: Any) -> None:
    inputs, followers = prompts([[(2, 2)], [(1, 3)]], [3, 6], 2), torch.randint(10, WORDS, (2, 2, 4))

    def gradients() -> list[torch.Tensor]:
        _, shared = both_ways(model, inputs, followers, [1, 1])
        return list(torch.autograd.grad(shared[..., 20].sum(), [*model.model.language_model.layers.parameters()]))

    expected = gradients()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.train()
    try:
        found = gradients()
    finally:
        model.gradient_checkpointing_disable()
        model.eval()
    for one, other in zip(expected, found, strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def test_bfloat16_stays_as_near_as_its_rounding() -> None:
    torch.manual_seed(0)
    model = qwen2_5().eval()
    share_prefixes(model)
    inputs, followers = prompts([[(3, 2)], [(2, 2)]], [5, 3], 3), torch.randint(10, WORDS, (2, 3, 6))
    exact, _ = both_ways(model, inputs, followers, [1, 1])
    model.bfloat16()
    apart, shared = both_ways(model, inputs, followers, [1, 1])
    assert (exact - shared).abs().max() <= 1.5 * (exact - apart).abs().max() + 1e-3


def test_layers_that_see_a_window_alone_are_refused() -> None:
    model = qwen2_5()
    model.config.text_config.layer_types = ["full_attention", "sliding_attention"]
    with pytest.raises(ValueError, match="sliding_attention"):
        share_prefixes(model)
