"""A tiny model of the production architecture: the real Qwen2.5-VL classes, small enough for two cores.

The tokenizer is trained here, on the world's own language; everything else comes from transformers. Given up: general
language and sight. Kept: every code path that the 7B model takes (vision tower, three-axis rotary positions, chat
template, processor).
"""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

PATCH = 8
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
TAGS = ["<think>", "</think>", "<answer>", "</answer>"]

# Qwen2.5-VL's published template without its system prompt, tools and video.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_processor(corpus: Iterable[str], *, image_size: int, vocab_size: int) -> "Qwen2_5_VLProcessor":
    """A Qwen2.5-VL processor with a byte-level BPE trained on `corpus`.

    Images are brought to `image_size` x `image_size` pixels at most, in patches of 8 pixels.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import Qwen2_5_VLProcessor, Qwen2Tokenizer, Qwen2VLImageProcessor, Qwen2VLVideoProcessor

    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = Qwen2Tokenizer().backend_tokenizer.pre_tokenizer
    bpe.train_from_iterator(corpus, trainer=trainer)
    model = json.loads(bpe.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=model["vocab"],
        merges=[tuple(merge) for merge in model["merges"]],
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=SPECIAL[1:],
    )
    tokenizer.add_tokens(TAGS)
    tokenizer.padding_side = "left"
    size = {"shortest_edge": (2 * PATCH) ** 2, "longest_edge": image_size**2}
    shape = {"patch_size": PATCH, "temporal_patch_size": 2, "merge_size": 2, "size": size}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(**shape),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(**shape),
        chat_template=CHAT_TEMPLATE,
    )


def build_model(
    processor: "Qwen2_5_VLProcessor", *, seed: int, hidden: int, layers: int, vision_hidden: int, vision_depth: int
) -> "Qwen2_5_VLForConditionalGeneration":
    """A randomly initialised Qwen2.5-VL of a small shape (float32); the same `seed` gives the same weights."""
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    ids = processor.tokenizer.convert_tokens_to_ids
    head_dim = 32
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": -(-len(processor.tokenizer) // 64) * 64,
            "hidden_size": hidden,
            "intermediate_size": hidden * 8 // 3 // 32 * 32,
            "num_hidden_layers": layers,
            "num_attention_heads": hidden // head_dim,
            "num_key_value_heads": hidden // head_dim,
            "max_position_embeddings": 4096,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10000.0,
                "mrope_section": [head_dim // 8, head_dim // 16 * 3, head_dim // 16 * 3],
            },
            "tie_word_embeddings": True,
            "bos_token_id": ids("<|endoftext|>"),
            "eos_token_id": ids("<|im_end|>"),
            "pad_token_id": ids("<|endoftext|>"),
        },
        vision_config={
            "depth": vision_depth,
            "hidden_size": vision_hidden,
            "intermediate_size": vision_hidden * 3,
            "num_heads": vision_hidden // head_dim,
            "patch_size": PATCH,
            "temporal_patch_size": 2,
            "spatial_merge_size": 2,
            "window_size": PATCH * 4,
            "fullatt_block_indexes": [vision_depth - 1],
            "out_hidden_size": hidden,
        },
        image_token_id=ids("<|image_pad|>"),
        video_token_id=ids("<|video_pad|>"),
        vision_start_token_id=ids("<|vision_start|>"),
        vision_end_token_id=ids("<|vision_end|>"),
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(config)
    # transformers draws with 0.02, about 1/sqrt(width) of the models it is made for. At a width of 192 that is three
    # times too small, and learning to see takes more than twice as many steps.
    for name, weight in model.named_parameters():
        if weight.dim() >= 2 and "embed_tokens" not in name:
            torch.nn.init.normal_(weight, std=weight[0].numel() ** -0.5)
    model.generation_config.eos_token_id = ids("<|im_end|>")
    model.generation_config.pad_token_id = ids("<|endoftext|>")
    return model.float()
