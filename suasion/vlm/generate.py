"""Completions of a reasoner, in batches, with the image tokens suppressed; on request with how sure the answer is.

Given up: a second forward over the completions for the probability of the answer. Generation has the two numbers already.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from transformers import LogitsProcessor, LogitsProcessorList

from suasion.vlm.chat import parse_completion, reasoner_messages
from suasion.vlm.inputs import image_tokens, prompt_inputs, render
from suasion.vlm.load import device_of


class Request(NamedTuple):
    """A question to a reasoner: the prompt and the two images in the order in which they are shown."""

    prompt: str
    first: Image.Image
    second: Image.Image


class Completion(NamedTuple):
    """What was said, special tokens removed, and the model's own probability of answer 1; null where it does not parse."""

    text: str
    p_first: float | None


class _Watch(LogitsProcessor):
    """Remembers the logits of two tokens at every step, (B, 2) each, never the whole vocabulary; changes nothing."""

    def __init__(self, choices: Sequence[int]) -> None:
        self.choices = list(choices)
        self.steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.steps.append(scores[:, self.choices].float())
        return scores


def complete(
    model: Any,
    processor: Any,
    requests: Sequence[Request],
    *,
    max_new_tokens: int,
    batch_size: int,
    temperature: float = 0.0,
    on_batch: Callable[[int], None] | None = None,
) -> list[str]:
    """One completion per request, special tokens removed. Greedy where `temperature` is 0, else sampled.

    `on_batch` is told after each batch how many requests it held.
    """
    sampling = {"do_sample": True, "temperature": temperature} if temperature > 0 else {"do_sample": False}
    texts: list[str] = []
    for start in range(0, len(requests), batch_size):
        batch = requests[start : start + batch_size]
        replies = _generate(model, processor, batch, max_new_tokens=max_new_tokens, **sampling)
        texts += processor.tokenizer.batch_decode(replies, skip_special_tokens=True)
        if on_batch:
            on_batch(len(batch))
    return texts


def complete_with_answers(
    model: Any,
    processor: Any,
    requests: Sequence[Request],
    choices: Sequence[int],
    *,
    max_new_tokens: int,
    batch_size: int,
) -> list[Completion]:
    """The greedy completions of `complete`, each with the softmax over the two tokens `choices` where it gives its answer.

    `choices` are the ids of answers 1 and 2 (`suasion.listener.local.answer_slot`). Behind the answer the grammar allows
    none of them, so the answer is the last one. The probability is null also where other tokens spell the answer.
    """
    found: list[Completion] = []
    for start in range(0, len(requests), batch_size):
        watch = _Watch(choices)
        batch = requests[start : start + batch_size]
        replies = _generate(
            model,
            processor,
            batch,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            logits_processor=LogitsProcessorList([watch]),
        )
        texts = processor.tokenizer.batch_decode(replies, skip_special_tokens=True)
        p_first = torch.softmax(torch.stack(watch.steps, dim=1).double(), dim=-1)[..., 0].cpu()  # (B, T)
        is_choice = torch.isin(replies, torch.tensor(watch.choices, device=replies.device)).cpu()  # (B, T)
        for text, row, asked in zip(texts, p_first, is_choice, strict=True):
            answered = asked.nonzero()
            known = parse_completion(text) is not None and len(answered) > 0
            found.append(Completion(text, float(row[answered[-1]]) if known else None))
    return found


@torch.no_grad()
def _generate(model: Any, processor: Any, batch: Sequence[Request], **settings: Any) -> torch.Tensor:
    """Ids of the completions of one batch, (B, T) int64, padded behind the end of turn."""
    rendered = [render(processor, reasoner_messages(request.prompt)) for request in batch]
    images = [(request.first, request.second) for request in batch]
    inputs = prompt_inputs(processor, rendered, images, device_of(model))
    output = model.generate(**inputs, suppress_tokens=image_tokens(processor), **settings)
    replies: torch.Tensor = output[:, inputs["input_ids"].shape[1] :]
    return replies
