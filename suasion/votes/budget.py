"""How many tokens a pair takes in front of the reasoner, without the reasoner: counted from its processor's files.

The filter must know, since truncating a prompt would cut image tokens, and must not wait seconds for a model library. So the
chat template is rendered once, prompts are encoded by the tokenizer's own file, and image tokens follow from the sizes
as the processor of Qwen2-VL resizes them (`smart_resize`). A test holds the count against the processor itself. Given up:
processors that count image tokens in another way.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from jinja2.sandbox import ImmutableSandboxedEnvironment

from suasion.errors import SuasionError
from suasion.vlm.chat import prompt_text, reasoner_messages

_PLACE = "PROMPT"
_MARKS = ("<|vision_start|>", "<|vision_end|>")


def over_budget(
    prompts: pl.Series, image_tokens: np.ndarray, processor: Path, *, limit: int
) -> "tuple[np.ndarray, np.ndarray]":
    """Which prompts (n,) take more than `limit` tokens with their `image_tokens` (n,), and those tokens (n,) int64.

    A token is at least one byte, so what is short enough in bytes is not encoded; its count is -1.

    Raises:
        SuasionError: a file of the processor is missing or not what it should be.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(processor / "tokenizer.json"))
        before, after = _template(processor)
    except Exception as error:  # whatever damaged files raise
        raise SuasionError(
            f"the processor does not load: {error}", where=str(processor), do="run the stage base again: dvc repro base"
        ) from error

    def count(text: str) -> int:
        return len(tokenizer.encode(text, add_special_tokens=False).ids)

    # Special tokens cut the text: what stands beyond those next to the prompt has the same tokens for every prompt.
    start, end = before.rfind("|>") + 2, after.find("<|")
    fixed = count(before[:start]) + count(after[end:]) - before.count("<|image_pad|>")
    size = prompts.str.len_bytes().to_numpy().astype(np.int64) + len((before[start:] + after[:end]).encode())
    size[(prompts.str.len_bytes() != prompts.str.len_chars()).to_numpy()] *= (
        3  # the most that normalisation lengthens it
    )
    tokens = np.full(len(prompts), -1, dtype=np.int64)
    long = np.flatnonzero(size + fixed + image_tokens > limit)
    texts = [before[start:] + prompt_text(prompt) + after[:end] for prompt in prompts.gather(long)]
    found = [len(encoding.ids) for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    tokens[long] = found + image_tokens[long] + fixed
    return tokens > limit, tokens


def image_tokens(width: np.ndarray, height: np.ndarray, processor: Path, *, max_side: int) -> np.ndarray:
    """Tokens of images of these sizes (n,) in pixels, once shards have shrunk them to `max_side` pixels a side.

    Raises:
        SuasionError: the processor's settings are missing.
    """
    settings = _image_settings(processor)
    sizes, at = np.unique(width.astype(np.int64) << 32 | height.astype(np.int64), return_inverse=True)
    tokens = [_tokens(*_shrunk(int(size) >> 32, int(size) & 0xFFFFFFFF, max_side), **settings) for size in sizes]
    return np.array(tokens, dtype=np.int64)[at]


def _template(processor: Path) -> tuple[str, str]:
    """What stands before and after a prompt."""
    file = processor / "chat_template.jinja"
    source = (
        file.read_text(encoding="utf-8") if file.is_file() else _json(processor / "chat_template.json")["chat_template"]
    )
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    rendered = environment.from_string(source).render(messages=reasoner_messages(_PLACE), add_generation_prompt=True)
    before, found, after = rendered.partition(_PLACE)
    if not found or not all(mark in before for mark in _MARKS) or "<|" not in after:
        raise ValueError("the chat template shows no images before the prompt, or no end of the turn after it")
    return before, after


def _image_settings(processor: Path) -> dict[str, int]:
    for name in ("processor_config.json", "preprocessor_config.json"):
        if (processor / name).is_file():
            found = _json(processor / name)
            found = found.get("image_processor", found)
            size = found.get("size", found)
            fewest = size.get("shortest_edge", size.get("min_pixels"))
            most = size.get("longest_edge", size.get("max_pixels"))
            if fewest and most:
                return {
                    "factor": found["patch_size"] * found["merge_size"],
                    "min_pixels": int(fewest),
                    "max_pixels": int(most),
                }
    raise SuasionError(
        "no settings of an image processor with patch_size, merge_size and limits of pixels",
        where=str(processor),
        do="run the stage base again: dvc repro base",
    )


def _json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _shrunk(width: int, height: int, max_side: int) -> tuple[int, int]:
    """The size that Pillow's `thumbnail` gives within a square of `max_side`."""
    if width <= max_side and height <= max_side:
        return width, height
    aspect = width / height
    if aspect <= 1:
        near = min(
            math.floor(max_side * aspect), math.ceil(max_side * aspect), key=lambda n: abs(aspect - n / max_side)
        )
        return max(near, 1), max_side
    exact = max_side / aspect
    near = min(math.floor(exact), math.ceil(exact), key=lambda n: 0 if n == 0 else abs(aspect - max_side / n))
    return max_side, max(near, 1)


def _tokens(width: int, height: int, *, factor: int, min_pixels: int, max_pixels: int) -> int:
    """Tokens of one image: `smart_resize` of transformers' Qwen2-VL, then one token for each square of `factor`."""
    high, wide = round(height / factor) * factor, round(width / factor) * factor
    if high * wide > max_pixels:
        beta = math.sqrt(height * width / max_pixels)
        high = max(factor, math.floor(height / beta / factor) * factor)
        wide = max(factor, math.floor(width / beta / factor) * factor)
    elif high * wide < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        high, wide = math.ceil(height * beta / factor) * factor, math.ceil(width * beta / factor) * factor
    return (high // factor) * (wide // factor)
