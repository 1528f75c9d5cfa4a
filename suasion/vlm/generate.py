"""Completions of a reasoner, in batches, with the image tokens suppressed."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image

from suasion.vlm.chat import reasoner_messages
from suasion.vlm.inputs import image_tokens, prompt_inputs, render
from suasion.vlm.load import device_of


class Request(NamedTuple):
    """A question to a reasoner: the prompt and the two images in the order in which they are shown."""

    prompt: str
    first: Image.Image
    second: Image.Image


@torch.no_grad()
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
        rendered = [render(processor, reasoner_messages(request.prompt)) for request in batch]
        inputs = prompt_inputs(
            processor, rendered, [(request.first, request.second) for request in batch], device_of(model)
        )
        output = model.generate(
            **inputs, max_new_tokens=max_new_tokens, suppress_tokens=image_tokens(processor), **sampling
        )
        replies = output[:, inputs["input_ids"].shape[1] :]
        texts += processor.tokenizer.batch_decode(replies, skip_special_tokens=True)
        if on_batch:
            on_batch(len(batch))
    return texts
