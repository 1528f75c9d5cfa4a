from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from suasion.vlm.chat import reasoner_messages
from suasion.vlm.images import as_input, encode_images, tokenise
from suasion.vlm.inputs import prompt_inputs, render


def pictures(*sizes: tuple[int, int]) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 255, (height, width, 3), dtype=np.uint8)) for width, height in sizes]


def test_images_apart_from_their_text_give_what_they_give_with_it(
    processor: Any, tiny_model: Callable[..., Any]
) -> None:
    model, images = tiny_model(), pictures((32, 32), (16, 32), (32, 16), (24, 24))
    texts = [render(processor, reasoner_messages(text)) for text in ("one star", "two red stars, not blue ones")]
    inputs = prompt_inputs(processor, texts, [images[:2], images[2:]], torch.device("cpu"))
    with torch.no_grad():
        expected = model(**inputs).logits
        del inputs["pixel_values"]
        # One at a time, and in another order than that in which they are shown.
        features = [encode_images(model, processor, [image])[0] for image in images[::-1]][::-1]
        found = model(**inputs, **as_input(features)).logits
    assert torch.allclose(expected, found, atol=1e-5)


def test_a_chat_has_the_tokens_that_the_processor_gives_it(processor: Any, tiny_model: Callable[..., Any]) -> None:
    images = pictures((32, 32), (16, 32))
    text = render(processor, reasoner_messages("one star"), "<answer> ")
    expected = prompt_inputs(processor, [text], [images], torch.device("cpu"))["input_ids"][0].tolist()
    assert tokenise(processor, text, encode_images(tiny_model(), processor, images)) == expected


def test_features_hold_no_others_alive(processor: Any, tiny_model: Callable[..., Any]) -> None:
    one, two = encode_images(tiny_model(), processor, pictures((32, 32), (32, 32)))
    for image in (one, two):
        assert image.size == sum(layer.untyped_storage().nbytes() for layer in image.layers)
