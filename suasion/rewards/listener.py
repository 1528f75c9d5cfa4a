"""`p_listener`: how likely a frozen listener finds the label once it has read the explanation, the answer removed."""

from collections.abc import Callable
from typing import Any

import numpy as np

from suasion.listener.local import Hearing, LocalListener
from suasion.rewards import completion_text
from suasion.vlm.chat import parse_completion


class ListenerReward:
    """The listener's probability of the label, both orders of presentation averaged (Eq. 3 of arXiv 2506.22832).

    Called by TRL with the columns `question` (the prompt's text), `images` (two per row, as shown), `label` (1, 2, or 0
    for a tie) and `prior` (what the listener gives the label without any explanation). A completion that does not
    parse has no explanation to read: 0.0. On a tie: 0.5.
    """

    __name__ = "listener_reward"

    def __init__(self, listener: LocalListener) -> None:
        self.listener = listener

    def __call__(
        self,
        completions: list[Any],
        question: list[str],
        images: list[list[Any]],
        label: list[int],
        prior: list[float],
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float]:
        parsed = [parse_completion(completion_text(completion)) for completion in completions]
        heard = [row for row, parts in enumerate(parsed) if parts is not None]
        hearings = [
            Hearing(question[row], images[row][0], images[row][1], parts[0])
            for row, parts in enumerate(parsed)
            if parts is not None
        ]
        first = self.listener.score(hearings).mean(axis=1) if hearings else np.empty(0)
        rewards = [0.0] * len(completions)
        for row, p_first in zip(heard, first, strict=True):
            rewards[row] = {0: 0.5, 1: float(p_first), 2: 1.0 - float(p_first)}[label[row]]
        if log_metric is not None and heard:
            log_metric("listener_gain", float(np.mean([rewards[row] - prior[row] for row in heard])))
            answers = np.array([parts[1] for parts in parsed if parts is not None])
            log_metric("contradiction", float(np.mean((first >= 0.5) != (answers == 1))))
        return rewards
