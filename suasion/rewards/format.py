"""`r_format`: the completion is exactly of the grammar."""

from typing import Any

from suasion.rewards import completion_text
from suasion.vlm.chat import parse_completion


def format_reward(completions: list[Any], **_: Any) -> list[float]:
    """1.0 where a completion is exactly `<think> ... </think><answer> 1|2 </answer>`, else 0.0."""
    return [float(parse_completion(completion_text(completion)) is not None) for completion in completions]
