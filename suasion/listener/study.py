"""How far explanations move a listener, on the embedded world, where it is known which are true.

*Gullibility* is what a false explanation takes from the right answer; *need* is what a true one adds to none.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from suasion.listener.local import Hearing, LocalListener
from suasion.world.lessons import contrast, corrupt, explanation
from suasion.world.scenes import Prompt, Scene, draw

Told = Callable[[Prompt, tuple[Scene, Scene], np.random.Generator], str | None]

EXPLANATIONS: dict[str, Told] = {
    "none": lambda prompt, scenes, rng: None,
    "true": lambda prompt, scenes, rng: explanation(prompt, *scenes),
    "corrupted": corrupt,
    "exchanged": lambda prompt, scenes, rng: explanation(prompt, *scenes[::-1]),
}


def study(model: Any, processor: Any, *, seed: int, pairs: int = 256) -> dict[str, dict[str, float]]:
    """Per kind of explanation: mean probability of the right image, accuracy, and position bias on fresh pairs.

    `need` and `gullibility` are differences of mean probabilities: true - none, none - corrupted.
    """
    listener = LocalListener(model, processor, batch_size=64)
    rng = np.random.default_rng((seed, 9))
    drawn = [contrast(rng) for _ in range(pairs)]
    images = [(draw(scenes[0], rng), draw(scenes[1], rng)) for _, scenes, _ in drawn]
    right = np.array([answer for _, _, answer in drawn])
    result: dict[str, dict[str, float]] = {}
    for name, told in EXPLANATIONS.items():
        hearings = [
            Hearing(str(prompt), *pictures, told(prompt, scenes, rng))
            for (prompt, scenes, _), pictures in zip(drawn, images, strict=True)
        ]
        scores = listener.score(hearings)
        first = scores.mean(axis=1)
        p_right = np.where(right == 1, first, 1 - first)
        result[name] = {
            "p_right": float(p_right.mean()),
            "accuracy": float((p_right > 0.5).mean()),
            "position_bias": float((scores[:, 0] - scores[:, 1]).mean() / 2),
        }
    result["differences"] = {
        "need": result["true"]["p_right"] - result["none"]["p_right"],
        "gullibility": result["none"]["p_right"] - result["corrupted"]["p_right"],
    }
    return result
