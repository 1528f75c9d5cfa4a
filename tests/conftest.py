"""Fixtures that many tests share: a processor trained once, and very small models of the production architecture."""

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import hypothesis
import pytest

hypothesis.settings.register_profile("suasion", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("suasion")


@pytest.fixture(scope="session")
def processor() -> Any:
    """A Qwen2.5-VL processor for 32-pixel images, its tokenizer trained on the world's language."""
    from suasion.world.lessons import corpus
    from suasion.world.tiny import build_processor

    return build_processor(corpus(0, lines=300), image_size=32, vocab_size=420)


@pytest.fixture
def tiny_model(processor: Any) -> Callable[..., Any]:
    """Builds a random Qwen2.5-VL with two layers of 64; the same seed gives the same weights."""
    from suasion.world.tiny import build_model

    def build(seed: int = 0) -> Any:
        return build_model(processor, seed=seed, hidden=64, layers=2, vision_hidden=32, vision_depth=2).eval()

    return build


@pytest.fixture
def talker(processor: Any, tiny_model: Callable[..., Any]) -> Any:
    """A random model, taught in a few steps to say something of the grammar, and still unsure which answer to give."""
    import numpy as np
    import torch

    from suasion.vlm.chat import reasoner_messages
    from suasion.vlm.inputs import render, training_inputs
    from suasion.world.scenes import draw, random_scene

    rng = np.random.default_rng(0)
    images = [tuple(draw(random_scene(rng, groups=1), rng, size=32) for _ in "ab") for _ in range(6)]
    texts = [render(processor, reasoner_messages(f"{word} star")) for word in ("one", "two not three", "three") * 2]
    replies = [f"<think> image 1 of 2 </think><answer> {1 + n % 2} </answer>" for n in range(6)]
    batch = training_inputs(processor, texts, replies, images)
    model = tiny_model()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        loss = model(**batch).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()
