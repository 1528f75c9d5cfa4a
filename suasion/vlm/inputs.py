"""From chats and images to tensors: one road for training, listening and judging."""

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from suasion.vlm.chat import END_OF_TURN


def render(processor: Any, messages: list[dict[str, Any]], reply: str = "") -> str:
    """The chat as text, with the assistant's turn opened and begun with `reply`."""
    text: str = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return text + reply


def prompt_inputs(
    processor: Any, texts: Sequence[str], images: Sequence[Sequence[Image.Image]], device: torch.device
) -> Any:
    """Tensors of rendered chats, padded on the left: `input_ids` (B, P), `pixel_values`, `image_grid_thw` and so on."""
    return processor(
        text=list(texts), images=[list(row) for row in images], padding=True, padding_side="left", return_tensors="pt"
    ).to(device)


def training_inputs(
    processor: Any, texts: Sequence[str], replies: Sequence[str], images: Sequence[Sequence[Image.Image]]
) -> Any:
    """Tensors for supervised steps: chat and reply, padded on the right, `labels` (B, T) int64 only over the reply.

    The reply is followed by the end-of-turn token, which is learned too.
    """
    whole = [text + reply + END_OF_TURN for text, reply in zip(texts, replies, strict=True)]
    batch = processor(
        text=whole, images=[list(row) for row in images], padding=True, padding_side="right", return_tensors="pt"
    )
    tokenizer = processor.tokenizer
    labels = torch.full_like(batch["input_ids"], -100)
    lengths = batch["attention_mask"].sum(dim=1)
    for row, reply in enumerate(replies):
        # Template text and reply never merge into one token: the assistant's turn opens with a special token and a
        # newline, and a reply begins with `<think>` or `<answer>`.
        size = len(tokenizer(reply + END_OF_TURN, add_special_tokens=False)["input_ids"])
        end = int(lengths[row])
        labels[row, end - size : end] = batch["input_ids"][row, end - size : end]
    batch["labels"] = labels
    return batch


def image_tokens(processor: Any) -> list[int]:
    """Ids of the tokens that stand for pixels or mark them: a completion may hold none of them."""
    tokenizer = processor.tokenizer
    names = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
    vocabulary = tokenizer.get_vocab()
    return [vocabulary[name] for name in names if name in vocabulary]
