"""Images through the vision tower, apart from the text: one image once, whatever it is shown beside or in which order.

Given up: videos, and images as a part of a processor's call. Tokens that stand for an image are counted here by its grid.
"""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from PIL import Image

from suasion.vlm.load import device_of
from suasion.vlm.prefix import core


class ImageFeatures(NamedTuple):
    """What the vision tower makes of an image of n tokens."""

    grid: torch.Tensor  # (3,) int64, patches in time, height and width
    layers: tuple[torch.Tensor, ...]  # (n, hidden) each: what takes the place of its tokens, then Qwen3-VL's deepstack

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(layer.nbytes for layer in self.layers)


@torch.no_grad()
def encode_images(model: Any, processor: Any, images: Sequence[Image.Image]) -> list[ImageFeatures]:
    """The features of each of `images`, which are RGB."""
    inputs = processor.image_processor(images=list(images), return_tensors="pt").to(device_of(model))
    found = core(model).model.get_image_features(inputs["pixel_values"], inputs["image_grid_thw"], return_dict=True)
    layers = [found.pooler_output, *(getattr(found, "deepstack_features", None) or [])]
    # A view would keep the features of all these images alive.
    return [
        ImageFeatures(grid, tuple(layer[index].clone() for layer in layers))
        for index, grid in enumerate(inputs["image_grid_thw"])
    ]


def as_input(features: Sequence[ImageFeatures]) -> dict[str, Any]:
    """`features` in the order in which a batch shows them, as keywords of the model's forward."""
    embeds, *deepstack = zip(*(image.layers for image in features), strict=True)
    return {"mm_encoder_outputs": {"image": SimpleNamespace(pooler_output=embeds, deepstack_features=deepstack)}}


def tokenise(processor: Any, text: str, features: Sequence[ImageFeatures]) -> list[int]:
    """Token ids of a rendered chat, with as many tokens in the place of each image as it has."""
    merged = processor.image_processor.merge_size**2
    counts = iter([int(image.grid.prod()) // merged for image in features])
    ids: list[int] = []
    for token in processor.tokenizer(text, add_special_tokens=False)["input_ids"]:
        ids += [token] * next(counts) if token == processor.image_token_id else [token]
    return ids
