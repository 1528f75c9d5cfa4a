"""What the benchmarks of GRPO and of the listener share: a random model in which computing dominates, and things to show it."""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image

SEED = 7


class Shape(NamedTuple):
    """A random Qwen2.5-VL."""

    hidden: int = 512
    layers: int = 8
    vision_hidden: int = 256
    vision_depth: int = 4


def processor_for(image_side: int) -> Any:
    """A processor that leaves square images of `image_side` pixels as they are: (image_side / 16) squared tokens each."""
    from suasion.world.lessons import corpus
    from suasion.world.tiny import build_processor

    processor = build_processor(corpus(SEED, lines=500), image_size=image_side, vocab_size=512)
    processor.tokenizer.padding_side = "left"  # as TRL pads
    return processor


LARGE, SMALL = Shape(), Shape(192, 4, 96, 3)
"""28 million parameters, and the size of the default profile."""


def model_of(processor: Any, shape: Shape = LARGE) -> Any:
    from suasion.world.tiny import build_model

    return build_model(processor, seed=SEED, **shape._asdict())


def sides_for(prompt_tokens: int) -> int:
    """Pixels of the side of two images which take most of `prompt_tokens`."""
    return 16 * max(2, round(((prompt_tokens - 30) / 2) ** 0.5))


def noise(side: int, seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 255, (side, side, 3), dtype=np.uint8))


def words(count: int, seed: int) -> str:
    """Text of `count` words, a token each or a few."""
    rng = np.random.default_rng(seed)
    drawn = rng.choice(["red", "blue", "circle", "square", "top", "left", "image", "shows", "star", "two"], count)
    return " ".join(drawn)
