"""What a forward costs in floating point operations, from a model's shape alone.

`f(n, c) = 2 N n + 4 A n (c + n / 2)` for n new tokens after c cached ones, with N the parameters of the decoder's
matrices and of the output head, and A = layers x heads x head dimension; `E` for one image through the vision tower.
A backward costs two forwards. Given up: element-wise operations, norms and softmax.
"""

from typing import Any, NamedTuple


class Cost(NamedTuple):
    """The three numbers that a model's cost follows from."""

    matrices: int  # N
    attention: int  # A
    vision_matrices: int
    vision_attention: int

    def tokens(self, new: float, cached: float = 0.0) -> float:
        """FLOPs of one forward over `new` tokens that attend to `cached` earlier ones and, causally, to each other."""
        return 2 * self.matrices * new + 4 * self.attention * new * (cached + new / 2)

    def image(self, patches: float) -> float:
        """FLOPs of one image of `patches` patches through the vision tower, attention over the whole image."""
        return 2 * self.vision_matrices * patches + 4 * self.vision_attention * patches * patches


def cost_of(model: Any) -> Cost:
    """The cost of a Qwen2.5-VL model, from its parameters and configuration."""
    text, vision = model.config.text_config, model.config.vision_config
    decoder = sum(p.numel() for p in model.model.language_model.layers.parameters() if p.dim() == 2)
    tower = sum(p.numel() for p in model.model.visual.parameters() if p.dim() >= 2)
    head = text.vocab_size * text.hidden_size
    return Cost(decoder + head, text.num_hidden_layers * text.hidden_size, tower, vision.depth * vision.hidden_size)
