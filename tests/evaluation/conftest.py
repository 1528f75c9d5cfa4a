from typing import Any

import numpy as np
import pytest

from suasion.records import PAIR
from suasion.shards.sample import Sample
from suasion.world.scenes import draw, encode, random_scene

LABELS = ("a", "tie", "b", "a")


@pytest.fixture
def four_samples() -> list[Sample]:
    rng = np.random.default_rng(1)
    made = []
    for number, label in enumerate(LABELS):
        values: dict[str, Any] = dict.fromkeys(PAIR.names())
        values |= {"pair_id": f"p{number}", "prompt_id": f"q{number}", "prompt": f"{number} stars", "split": "test"}
        a, b = (encode(draw(random_scene(rng, groups=1), rng)) for _ in "ab")
        made.append(Sample(values | {"label": label}, a, b, None, None))
    return made
