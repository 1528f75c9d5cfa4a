"""What a forward costs in floating point operations, from a model's shape alone.

`f(n, c) = 2 N n + 4 A n (c + n / 2)` for n new tokens after c cached ones, with N the parameters of the decoder's
matrices and of the output head, and A = layers x heads x head dimension; `E` for one image through the vision tower.
A backward costs two forwards.

This is what is necessary. A token attends to itself and to what stands before it, n / 2 tokens of its own forward in the mean:
eager attention computes all n and masks half of them, 2 A n^2 more than f, while fused kernels leave most of that out. Heads
that share keys and values (fewer key and value heads) have smaller matrices in N and the same A. Given up: element-wise
operations, norms, softmax and rotary positions.
"""

from typing import Any, NamedTuple


class Cost(NamedTuple):
    """The numbers that a model's cost follows from."""

    matrices: int  # N
    attention: int  # A
    vision_matrices: int  # parameters that a patch meets: layers, patch embedding, and its part of the merger
    vision_attention: int  # layers that attend to the whole image x heads x head dimension
    vision_windowed: int  # the same of the layers that attend within a window
    window: int  # patches in a window

    def tokens(self, new: float, cached: float = 0.0) -> float:
        """FLOPs of one forward over `new` tokens that attend to `cached` earlier ones and, causally, to each other."""
        return 2 * self.matrices * new + 4 * self.attention * new * (cached + new / 2)

    def image(self, patches: float) -> float:
        """FLOPs of one image of `patches` patches through the vision tower; windows are counted as full ones."""
        attended = self.vision_attention * patches + self.vision_windowed * min(patches, self.window)
        return 2 * self.vision_matrices * patches + 4 * attended * patches


def cost_of(model: Any) -> Cost:
    """The cost of a Qwen2.5-VL model, from its parameters' shapes and its configuration; weights are not needed."""
    text, vision = model.config.text_config, model.config.vision_config
    tower = model.model.visual
    merged = vision.spatial_merge_size**2  # patches that become one token
    full = len(vision.fullatt_block_indexes)
    side = vision.window_size // vision.patch_size // vision.spatial_merge_size * vision.spatial_merge_size
    head_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return Cost(
        matrices=_matrices(model.model.language_model.layers) + text.vocab_size * text.hidden_size,
        attention=text.num_hidden_layers * text.num_attention_heads * head_dim,
        vision_matrices=_matrices(tower.blocks) + _matrices(tower.patch_embed) + _matrices(tower.merger) // merged,
        vision_attention=full * vision.hidden_size,
        vision_windowed=(vision.depth - full) * vision.hidden_size,
        window=side**2,
    )


def _matrices(module: Any) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.dim() >= 2)
