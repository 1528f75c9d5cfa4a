"""The page on scaling: its tables are what the formula gives, and its sentences are about these numbers."""

from typing import Any

import pytest

from benchmarks.scaling import GPUS, Machine, Sizes, decoding, executed, necessary, production, repeated, step, tables
from suasion.params import ROOT
from suasion.training.sft import grpo_flops
from suasion.vlm.cost import Cost, cost_of


@pytest.fixture(scope="module")
def cost() -> Cost:
    return cost_of(production())


def test_the_page_has_the_tables_of_the_formula() -> None:
    page = (ROOT / "docs" / "scaling.md").read_text()
    for table in tables().split("\n\n"):
        assert table in page


def test_the_shape_is_that_of_the_7b(cost: Cost) -> None:
    """Its card says 8.29 billion parameters in all; half a billion of them are embeddings that are looked up."""
    model = production()
    assert sum(weight.numel() for weight in model.parameters()) == 8_292_166_656
    assert cost.matrices == pytest.approx(7.07e9, rel=0.01)
    assert cost.window == 64


def test_what_is_repeated_is_what_the_baselines_compute_is_taken_from(cost: Cost) -> None:
    """`grpo_flops`, but for the rollout, which is vLLM's here, and images without a gradient."""
    sizes = Sizes()
    need, images = repeated(cost, sizes), 2 * cost.image(4 * sizes.image)
    size: dict[str, Any] = {"prompt": sizes.prompt, "reply": sizes.reply, "patches": 8 * sizes.image}
    whole = grpo_flops(cost, cost, completions=sizes.group, reference=True, **size)
    rollout = sizes.group * (images + cost.tokens(sizes.prompt + sizes.reply))
    assert need.listener + need.train == pytest.approx(whole - rollout - sizes.group * 2 * images)


def test_prompts_for_each_completion_cost_a_multiple(cost: Cost) -> None:
    """The design's example: 2.98 times the training forward at P = 808, R = 256, G = 8, images left out."""
    prompt, reply, group = 808, 256, 8
    shared = cost.tokens(prompt) + group * cost.tokens(reply, prompt)
    assert group * cost.tokens(prompt + reply) / shared == pytest.approx(2.98, rel=0.01)


def test_decoding_reads_all_weights_however_few_completions_there_are(cost: Cost) -> None:
    sizes, machine = Sizes(), Machine()
    one, two = (decoding(cost, sizes, machine, groups) for groups in (1, 2))
    assert two < 1.05 * one
    assert decoding(cost, sizes, machine, 100) > 3 * one, "caches count at last"


def test_the_sentences_about_what_saturates_first(cost: Cost) -> None:
    def whole(ways: Any, gpus: int) -> float:
        return sum(step(ways(cost, Sizes()), cost, Sizes(), Machine(), gpus, max(16, gpus)).values())

    gains = [whole(repeated, gpus) / whole(executed, gpus) for gpus in GPUS]
    left = [whole(executed, gpus) / whole(necessary, gpus) for gpus in GPUS]
    assert gains == pytest.approx([3.15, 2.1, 1.7], abs=0.05)
    assert left == pytest.approx([1.15, 1.07, 1.05], abs=0.01)
