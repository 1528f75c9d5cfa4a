"""Reward functions with TRL's calling convention, one per file: they work in anyone's `GRPOTrainer`.

`r = r_format + 0.5 * r_accuracy + 0.5 * p_listener` (Eq. 3 of arXiv 2506.22832); the weights are parameters.
"""

from typing import Any


def completion_text(completion: "str | list[dict[str, Any]]") -> str:
    """The text of a completion as TRL hands it over: a string, or a conversation of one assistant message."""
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
