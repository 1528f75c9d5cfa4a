"""A listener in this process: softmax over the two choice tokens at the answer slot, both orders of presentation.

`p_listener` of Eq. 3 in arXiv 2506.22832. The order of presentation is averaged out: the question is asked twice, with the
images exchanged and the explanation's "image 1" and "image 2" exchanged with them.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from suasion.errors import SuasionError
from suasion.vlm.chat import ANSWER_PREFIX, listener_messages, swap_references
from suasion.vlm.inputs import prompt_inputs, render
from suasion.vlm.load import device_of


class Hearing(NamedTuple):
    """What a listener hears: the prompt, two images in the order the explanation speaks of, and the explanation."""

    prompt: str
    first: Image.Image
    second: Image.Image
    explanation: str | None


class LocalListener:
    """Scores explanations with a model in this process; the model is put in evaluation mode and never trained."""

    def __init__(self, model: Any, processor: Any, *, batch_size: int) -> None:
        self.model, self.processor, self.batch_size = model.eval().requires_grad_(False), processor, batch_size
        self.reply, self.choices = answer_slot(processor)

    def score(self, hearings: Sequence[Hearing], *, on_batch: Callable[[int], None] | None = None) -> np.ndarray:
        """Probability of the first image in either order: (n, 2) float64, columns: as told, images exchanged.

        Both columns speak of the same image, so their mean is `p_listener` of the first image, and half their
        difference is what the order of presentation does.
        """
        exchanged = [
            Hearing(h.prompt, h.second, h.first, swap_references(h.explanation) if h.explanation else None)
            for h in hearings
        ]
        told = self._probability_of_first(hearings, on_batch)
        return np.stack([told, 1.0 - self._probability_of_first(exchanged, on_batch)], axis=1)

    @torch.no_grad()
    def _probability_of_first(self, hearings: Sequence[Hearing], on_batch: Callable[[int], None] | None) -> np.ndarray:
        answers: list[np.ndarray] = []
        for start in range(0, len(hearings), self.batch_size):
            batch = hearings[start : start + self.batch_size]
            texts = [render(self.processor, listener_messages(h.prompt, h.explanation), self.reply) for h in batch]
            images = [(h.first, h.second) for h in batch]
            inputs = prompt_inputs(self.processor, texts, images, device_of(self.model))
            logits = self.model(**inputs, logits_to_keep=1).logits[:, -1, self.choices].double()  # (B, 2)
            answers.append(torch.softmax(logits, dim=-1)[:, 0].cpu().numpy())
            if on_batch:
                on_batch(len(batch))
        return np.concatenate(answers) if answers else np.empty(0)


def answer_slot(processor: Any) -> tuple[str, list[int]]:
    """What the listener's reply begins with, and the two token ids that may follow: those of answers 1 and 2.

    Raises:
        SuasionError: the tokenizer does not tell the two answers apart by one token.
    """
    tokenizer = processor.tokenizer
    one, two = (tokenizer(f"{ANSWER_PREFIX} {answer}", add_special_tokens=False)["input_ids"] for answer in (1, 2))
    if len(one) != len(two) or one[:-1] != two[:-1]:
        raise SuasionError(
            f"the answers are tokens {one} and {two}, which differ in more than the last one",
            where="the listener's tokenizer",
            do="use a listener whose tokenizer keeps the digits 1 and 2 as tokens of their own",
        )
    text = f"{ANSWER_PREFIX} 1"
    return text[: len(text) - len(tokenizer.decode(one[-1:]))], [one[-1], two[-1]]
