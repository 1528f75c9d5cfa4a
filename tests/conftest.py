"""Fixtures that many tests share: a processor trained once, and very small models of the production architecture."""

import os
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest


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
