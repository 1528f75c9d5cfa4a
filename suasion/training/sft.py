"""The baseline that GRPO has to beat: SFT of the same warm start, on the same pairs, with the same compute.

Votes hold no explanations, so the reply to learn is the warm start's own explanation (greedy) with the voted answer.
That is the stronger of the two obvious ways; answers without explanations are the other. GRPO's compute is counted with the
prompt repeated for every completion, as TRL's own trainer executes it: our grouped one takes less, so the baseline has the
advantage. Given up: a learning rate search of its own; it takes GRPO's schedule length from the compute and the learning
rate from the warm start.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from suasion.training.rows import Row
from suasion.vlm.chat import format_completion, parse_completion, reasoner_messages
from suasion.vlm.cost import Cost
from suasion.vlm.generate import Request, complete


class Voted(NamedTuple):
    """A lesson of the baseline; has the fields of `suasion.world.lessons.Lesson`."""

    messages: list[dict[str, Any]]
    images: tuple[Any, Any]
    reply: str


def voted_lessons(
    model: Any, processor: Any, rows: Sequence[Row], *, max_new_tokens: int, batch_size: int
) -> list[Voted]:
    """One lesson per decided row whose greedy completion parses: the model's own explanation, the voted answer."""
    decided = [row for row in rows if row.label]
    images = [row.images() for row in decided]
    requests = [Request(row.prompt, *pictures) for row, pictures in zip(decided, images, strict=True)]
    completions = complete(model, processor, requests, max_new_tokens=max_new_tokens, batch_size=batch_size)
    lessons = []
    for row, pictures, text in zip(decided, images, completions, strict=True):
        parsed = parse_completion(text)
        if parsed is not None:
            lessons.append(Voted(reasoner_messages(row.prompt), pictures, format_completion(parsed[0], row.label)))
    return lessons


class Shuffled(Sequence[Voted]):
    """`size` draws from `lessons`: whole passes, each in its own seeded order."""

    def __init__(self, lessons: Sequence[Voted], size: int, *, seed: int) -> None:
        passes = -(-size // len(lessons))
        orders = [np.random.default_rng((seed, number)).permutation(len(lessons)) for number in range(passes)]
        self.order = np.concatenate(orders)[:size]
        self.lessons = lessons

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]  # Sequence also asks for slices, which nobody takes
        return self.lessons[self.order[index]]


def grpo_flops(
    cost: Cost, listener: Cost, *, completions: int, prompt: float, reply: float, patches: float, reference: bool
) -> float:
    """FLOPs of one GRPO step as TRL executes it: every completion carries its own prompt and images.

    Rollout and the listener's two orders forward, the reference model's forward where there is a KL term, training forward
    and backward. `prompt` and `reply` in tokens, `patches` per pair of images.
    """
    images = cost.image(patches / 2) * 2
    rollout = images + cost.tokens(prompt) + cost.tokens(reply, prompt)
    heard = 2 * (listener.image(patches / 2) * 2 + listener.tokens(prompt + reply))
    forward = images + cost.tokens(prompt + reply)
    return completions * (rollout + heard + (4 if reference else 3) * forward)


def sft_flops(cost: Cost, *, lessons: int, prompt: float, reply: float, patches: float) -> float:
    """FLOPs of one SFT step over `lessons` rows."""
    return lessons * 3 * (cost.image(patches / 2) * 2 + cost.tokens(prompt + reply))
