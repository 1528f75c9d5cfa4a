"""What a listener costs that computes prompts, images and what explanations share once, against one that hears them one by one.

    python -m benchmarks.listener [--rounds 5]

- *group*: eight explanations of one pair, both orders; a random Qwen2.5-VL of 28 million parameters, a prompt of 800 tokens
  with two images, explanations of 200. One by one is a forward for every explanation and order. `group_efficiency` is the
  measured ratio over the ratio of FLOPs by `suasion.vlm.cost`: how much of what is saved on paper is saved on the clock.
- *pre-scoring*: 300 pairs without explanations, in both orders, through a listener of the default profile's size with its
  batches, against the same one by one. Beside it the same ratio of the large model: there images are shared by the two
  orders, and nothing else can be.
- `max_score_difference`: the largest between the two ways over all of these.

The last line is one JSON object; figures are medians of rounds in turn.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

PROMPT, EXPLANATION, GROUP, PAIRS, ROUNDS = 800, 200, 8, 300, 5
LIMITS = {"group_efficiency": 0.8, "prescore_speedup": 3.0}


class OneByOne:
    """The listener that is obvious: every explanation with its prompt and images, `batch_size` forwards together."""

    def __init__(self, model: Any, processor: Any, *, batch_size: int = 1) -> None:
        from suasion.listener.local import answer_slot

        self.model, self.processor, self.batch_size = model.eval().requires_grad_(False), processor, batch_size
        self.reply, self.choices = answer_slot(processor)
        self.kept: dict[str, Any] = {}

    def score(self, hearings: Sequence[Any]) -> np.ndarray:
        from suasion.listener.local import _exchanged

        told = self._probability_of_first(hearings)
        return np.stack([told, 1.0 - self._probability_of_first([_exchanged(h) for h in hearings])], axis=1)

    def _probability_of_first(self, hearings: Sequence[Any]) -> np.ndarray:
        import torch

        from suasion.vlm.chat import listener_messages
        from suasion.vlm.inputs import prompt_inputs, render
        from suasion.vlm.load import device_of

        answers = []
        for start in range(0, len(hearings), self.batch_size):
            batch = hearings[start : start + self.batch_size]
            texts = [render(self.processor, listener_messages(h.prompt, h.explanation), self.reply) for h in batch]
            inputs = prompt_inputs(self.processor, texts, [(h.first, h.second) for h in batch], device_of(self.model))
            with torch.no_grad():
                logits = self.model(**inputs, logits_to_keep=1).logits[:, -1, self.choices].double()
            answers.append(torch.softmax(logits, dim=-1)[:, 0].cpu().numpy())
        return np.concatenate(answers)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.listener")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    result = measure(parser.parse_args().rounds)
    missed = [
        f"{name} is {result[name]}, {least} at least is wanted"
        for name, least in LIMITS.items()
        if result[name] < least
    ]
    print("\n".join(missed) or "all limits are met")
    print(json.dumps(result))
    raise SystemExit(1 if missed else 0)


def measure(rounds: int) -> dict[str, Any]:
    from benchmarks.models import SMALL, model_of, noise, processor_for, sides_for, words
    from suasion.listener.local import Hearing

    side = sides_for(PROMPT)
    processor = processor_for(side)
    large = model_of(processor)
    pair = (noise(side, 0), noise(side, 1))
    group = [Hearing("two red stars, not blue ones", *pair, words(EXPLANATION, n)) for n in range(GROUP)]
    few = [Hearing("two red stars", noise(side, 2 * n), noise(side, 2 * n + 1), None) for n in range(4)]
    small_processor = processor_for(64)
    small = model_of(small_processor, SMALL)
    many = [Hearing("two red stars, not blue ones", noise(64, 2 * n), noise(64, 2 * n + 1), None) for n in range(PAIRS)]
    print("a group", flush=True)
    in_group, first = compare(large, processor, group, 8, rounds)
    print("pre-scoring", flush=True)
    prescoring, second = compare(small, small_processor, many, 128, rounds)
    print("pre-scoring, large model", flush=True)
    large_prescoring, third = compare(large, processor, few, 8, rounds)
    ratio = predicted(large, processor, group)
    speedup = statistics.median(in_group["one by one"]) / statistics.median(in_group["shared"])
    return {
        "group_efficiency": round(speedup / ratio, 3),
        "group_speedup": round(speedup, 2),
        "group_predicted": round(ratio, 2),
        "prescore_speedup": round(
            statistics.median(prescoring["one by one"]) / statistics.median(prescoring["shared"]), 2
        ),
        "prescore_speedup_large": round(
            statistics.median(large_prescoring["one by one"]) / statistics.median(large_prescoring["shared"]), 2
        ),
        "max_score_difference": max(first, second, third),
        "group": GROUP,
        "pairs": PAIRS,
        "rounds": rounds,
        "seconds": {"group": in_group, "prescoring": prescoring, "prescoring_large": large_prescoring},
    }


def compare(
    model: Any, processor: Any, hearings: Sequence[Any], batch_size: int, rounds: int
) -> tuple[dict[str, list[float]], float]:
    """Seconds of both ways, and the largest difference of their scores."""
    from suasion.listener.local import LocalListener

    ways: dict[str, Any] = {
        "one by one": OneByOne(model, processor),
        "shared": LocalListener(model, processor, batch_size=batch_size),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    scores = {}
    for number in range(rounds):
        for name in sorted(ways, reverse=number % 2 == 1):
            ways[name].kept.clear()  # as if the images were new
            start = time.perf_counter()
            scores[name] = ways[name].score(hearings)
            seconds[name].append(round(time.perf_counter() - start, 3))
    return seconds, float(np.abs(scores["shared"] - scores["one by one"]).max())


def predicted(model: Any, processor: Any, group: Sequence[Any]) -> float:
    """FLOPs of one by one over those of a group, both orders; images once for both where they are shared."""
    from suasion.listener.local import LocalListener, _name
    from suasion.vlm.cost import cost_of

    cost, listener = cost_of(model), LocalListener(model, processor, batch_size=8)
    features = listener._features({_name(image): image for image in (group[0].first, group[0].second)})
    (question,) = listener._questions(group, features)
    images = sum(cost.image(int(image.grid.prod())) for image in features.values())
    before, rest = len(question.prefix), [len(row) for row in question.rest]
    alone = 2 * sum(images + cost.tokens(before + size) for size in rest)
    return alone / (images + 2 * (cost.tokens(before) + sum(cost.tokens(size, before) for size in rest)))


if __name__ == "__main__":
    main()
