"""`r_accuracy`: the answer is the label."""

from typing import Any

from suasion.rewards import completion_text
from suasion.vlm.chat import parse_completion


def accuracy_reward(completions: list[Any], label: list[int], **_: Any) -> list[float]:
    """1.0 where the answer is `label` (1 or 2, as the images were shown), 0.5 on a tie (label 0), else 0.0.

    A completion that does not parse has no answer: 0.0.
    """
    rewards = []
    for completion, right in zip(completions, label, strict=True):
        parsed = parse_completion(completion_text(completion))
        rewards.append(0.0 if parsed is None else 0.5 if right == 0 else float(parsed[1] == right))
    return rewards
