"""One forward over prompts and all that follows each of them: a prompt and its images are computed once, not once a follower.

*Packed* (`pack`), in training and for the listener: what follows a prompt is laid out behind it in one row, and attention is
told so: a follower sees the prompt and itself, never its neighbours. As the row is an ordinary input, gradients, adapters,
gradient checkpointing and wrapped models (DDP, FSDP) need nothing of their own. *Remembered* (`remember`), in the rollout: a
prompt's keys and values stay where they are, and its completions attend to the one copy, token by token.

The position of every token is the one that it would have alone (M-RoPE, arXiv 2409.12191, section 2.1). What depends on the
architecture: that transformers' attention interface gets its keywords, and what its cache returns, as they are; and where the
text model and `get_rope_index` are. That holds for Qwen2-VL, Qwen2.5-VL and Qwen3-VL.

Given up: rows without padding behind short followers, and kernels that never write the scores of remembered prompts down.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface, Cache, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "shared_prefix"
"""Of the attention, in transformers' table, and of the keyword that brings it its `Layout`."""


PROMPT_INPUTS = ("input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw")
"""What a processor makes of prompts with images, and a forward takes."""


class Layout(NamedTuple):
    """How rows are laid out: padding, a prompt, and then `followers` stretches of `length` tokens, padded behind."""

    starts: tuple[int, ...]  # of each row's prompt: what is before it is padding
    prefix: int  # tokens before the first follower
    followers: int
    length: int

    def take_apart(self, rows: torch.Tensor) -> torch.Tensor:
        """Of (B, L, ...) what belongs to followers, as (B x followers, length, ...)."""
        own: torch.Tensor = rows[:, self.prefix :].unflatten(1, (self.followers, self.length))
        return own.flatten(0, 1)


def share_prefixes(model: Any) -> None:
    """Have `model` take rows from `pack`; other input is treated as ever. For every such row it returns followers alone.

    Raises:
        ValueError: the text model's layers attend to windows, which cuts a prompt off from what follows it.
    """
    model = core(model)
    text = model.model.language_model
    if text.config._attn_implementation == NAME:
        return
    windows = {*(getattr(text.config, "layer_types", None) or ["full_attention"])} - {"full_attention"}
    if windows:
        raise ValueError(f"layers with {', '.join(sorted(windows))}: prefixes are shared only under full attention")
    model.set_attn_implementation({"text_config": NAME})
    text.register_forward_hook(_followers_alone, with_kwargs=True)


def core(model: Any) -> Any:
    """The model itself, without an adapter's wrapping."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def pack(
    model: Any,
    prompt_ids: torch.Tensor,
    prompt_mask: torch.Tensor,
    followers: torch.Tensor,
    *,
    mm_token_type_ids: torch.Tensor,
    image_grid_thw: torch.Tensor | None,
) -> dict[str, Any]:
    """Keywords for one forward of a `model` that shares prefixes: ids, positions and layout.

    Args:
        prompt_ids: (B, P) int64, padded on the left, where `prompt_mask` (B, P) is 0.
        followers: (B, followers, T) int64, padded on the right with anything: nothing that counts sees it.
        mm_token_type_ids: (B, P), 1 for the tokens of an image.
        image_grid_thw: (images of all B prompts, 3).
    """
    rows, count, length = followers.shape
    positions, deltas = core(model).model.get_rope_index(
        prompt_ids, mm_token_type_ids=mm_token_type_ids, image_grid_thw=image_grid_thw, attention_mask=prompt_mask
    )  # (3, B, P) and (B, 1)
    first = prompt_mask.sum(dim=1, keepdim=True) + deltas.to(prompt_mask.device)
    after = (first + torch.arange(length, device=first.device)).repeat(1, count)  # (B, count x T)
    starts = (prompt_mask == 0).sum(dim=1).tolist()
    return {
        "input_ids": torch.cat([prompt_ids, followers.flatten(1)], dim=1),
        "position_ids": torch.cat([positions, after.expand(3, rows, -1)], dim=2),
        NAME: Layout(tuple(starts), prompt_ids.shape[1], count, length),
    }


class Behind(NamedTuple):
    """Keys or values of followers, and those of the prompts that they stand behind."""

    prompt: torch.Tensor  # (B, K, P, D)
    own: torch.Tensor  # (B x followers, K, T, D)


class _Layer(DynamicLayer):
    """A layer's keys and values of followers, in buffers that double; those of prompts are shared."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, followers: int) -> None:
        super().__init__()
        self.prompt = keys, values
        self.size = 0
        shape = (keys.shape[0] * followers, keys.shape[1], 64, keys.shape[3])
        self.keys, self.values = keys.new_empty(shape), values.new_empty(shape)
        self.is_initialized = True

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> tuple[Any, Any]:
        start, self.size = self.size, self.size + key_states.shape[2]
        while self.keys.shape[2] < self.size:
            self.keys, self.values = (torch.cat([x, torch.empty_like(x)], dim=2) for x in (self.keys, self.values))
        for buffer, new in ((self.keys, key_states), (self.values, value_states)):
            buffer[:, :, start : self.size] = new
        keys, values = self.prompt
        return Behind(keys, self.keys[:, :, : self.size]), Behind(values, self.values[:, :, : self.size])

    def get_seq_length(self) -> int:
        return self.prompt[0].shape[2] + self.size


class Memory(NamedTuple):
    """What a model remembers of B prompts: `layers` of keys and values (B, K, P, D), and `deltas` (B, 1) of positions."""

    layers: list[tuple[torch.Tensor, torch.Tensor]]
    deltas: torch.Tensor

    def cache(self, followers: int) -> Cache:
        """A new cache of `followers` behind each prompt, whose keys and values are not copied."""
        return Cache(layers=[_Layer(*layer, followers) for layer in self.layers])


@torch.no_grad()
def remember(model: Any, **inputs: Any) -> Memory:
    """What a `model` that shares prefixes computes for B prompts: ids, mask and token types (B, P), and their images."""
    model, ids = core(model), inputs["input_ids"]
    positions, deltas = model.model.get_rope_index(
        ids,
        mm_token_type_ids=inputs.get("mm_token_type_ids", torch.zeros_like(ids)),
        image_grid_thw=inputs.get("image_grid_thw"),
        attention_mask=inputs["attention_mask"],
    )
    empty = DynamicCache(config=model.config.text_config)
    # The whole model, of which one token's logits are the least: what wraps it (FSDP) waits for its forward.
    found = model(**inputs, position_ids=positions, past_key_values=empty, use_cache=True, logits_to_keep=1)
    return Memory([(layer.keys, layer.values) for layer in found.past_key_values.layers], deltas)


@contextlib.contextmanager
def generating_groups(model: Any, group: int) -> Iterator[None]:
    """Within, `model.generate` of B prompts gives B x `group` rows, `group` next to each other, each prompt computed once."""
    inner = core(model)
    generate, own = inner.generate, "generate" in vars(inner)

    def of_groups(**inputs: Any) -> torch.Tensor:
        of_prompts = {name: inputs.pop(name) for name in [*inputs] if name in PROMPT_INPUTS}
        ids, mask = of_prompts["input_ids"], of_prompts["attention_mask"]
        # The last token is left to the first step: it has to give the logits of the first one that is generated.
        by_token = {"input_ids", "attention_mask", "mm_token_type_ids"} & {*of_prompts}
        short = {name: of_prompts[name][:, :-1] for name in by_token}
        memory = remember(model, **{**of_prompts, **short})
        inner.model.rope_deltas = memory.deltas.repeat_interleave(group, dim=0)
        rows = {
            "input_ids": ids.repeat_interleave(group, dim=0),
            "attention_mask": mask.repeat_interleave(group, dim=0),
        }
        found: torch.Tensor = generate(**rows, past_key_values=memory.cache(group), **inputs)
        return found

    inner.generate = of_groups
    try:
        yield
    finally:
        del inner.generate
        if own:
            inner.generate = generate


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor | Behind,
    value: torch.Tensor | Behind,
    attention_mask: torch.Tensor | None,
    *,
    shared_prefix: Layout | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **rest: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of `query` (B, H, L, D) to `key` and `value` (B, K, L, D), as (B, L, H, D); torch's where nothing is shared."""
    if isinstance(key, Behind) and isinstance(value, Behind):
        return _attend_behind(query, key, value, attention_mask, scaling or query.shape[3] ** -0.5), None
    assert isinstance(key, torch.Tensor)
    assert isinstance(value, torch.Tensor)
    if shared_prefix is None:
        said: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, dropout=dropout, **rest
        )
        return said
    found, places = [], []
    for start in sorted({*shared_prefix.starts}):  # rows without padding, or with as much of it, go together
        rows = [row for row, other in enumerate(shared_prefix.starts) if other == start]
        parts = (query, key, value) if len(rows) == len(query) else (query[rows], key[rows], value[rows])
        found.append(_attend_rows(shared_prefix, start, *parts, scaling, dropout))
        places += rows
    if len(found) == 1:
        return found[0].transpose(1, 2), None
    order = sorted(range(len(places)), key=places.__getitem__)
    return torch.cat(found)[order].transpose(1, 2), None


def _attend_rows(
    layout: Layout,
    start: int,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float | None,
    dropout: float,
) -> torch.Tensor:
    """Rows of (B, H, L, D): a prompt to itself, every follower to the prompt and to itself, padding to nothing."""
    _, prefix, followers, length = layout
    before = slice(start, prefix)
    prompt = scaled_dot_product_attention(
        query[:, :, before],
        key[:, :, before],
        value[:, :, before],
        is_causal=True,
        scale=scaling,
        dropout_p=dropout,
        enable_gqa=query.shape[1] != key.shape[1],
    )

    def apart(tensor: torch.Tensor) -> torch.Tensor:
        own: torch.Tensor = tensor[:, :, prefix:].unflatten(2, (followers, length))
        return own.transpose(1, 2)  # (B, followers, H, T, D)

    def behind_prompt(tensor: torch.Tensor) -> torch.Tensor:
        shared = tensor[:, None, :, before].expand(-1, followers, -1, -1, -1)
        return torch.cat([shared, apart(tensor)], dim=3).flatten(0, 1)

    heads, kept = query.shape[1], key.shape[1]
    seen = torch.ones(length, prefix - start + length, dtype=torch.bool, device=query.device).tril(prefix - start)
    # Heads that share a key lie behind one another: with a mask, torch's quick kernels take no fewer keys than queries.
    folded = apart(query).flatten(0, 1).unflatten(1, (kept, -1)).flatten(2, 3)  # (B x followers, K, H / K x T, D)
    after = scaled_dot_product_attention(
        folded,
        behind_prompt(key),
        behind_prompt(value),
        attn_mask=seen.repeat(heads // kept, 1),
        scale=scaling,
        dropout_p=dropout,
    )
    after = after.unflatten(2, (-1, length)).flatten(1, 2)
    after = after.unflatten(0, (-1, followers)).transpose(1, 2).flatten(2, 3)
    padding = prompt.new_zeros(*prompt.shape[:2], start, prompt.shape[3])
    return torch.cat([padding, prompt, after], dim=2)


def _attend_behind(
    query: torch.Tensor, key: Behind, value: Behind, mask: torch.Tensor | None, scaling: float
) -> torch.Tensor:
    """Attention of followers' `query` (N, H, T, D) to the prompts they stand behind and to themselves, as (N, T, H, D).

    `mask` (N, 1, T, P + their own) bool is needed for the padding before prompts alone; followers' own is causal.
    """
    rows, heads, length, _size = query.shape
    prompts, kept, before, _ = key.prompt.shape
    own, repeats = key.own.shape[2], heads // kept
    query = query.unflatten(1, (kept, repeats))  # (N, K, r, T, D)

    def by_prompt(tensor: torch.Tensor) -> torch.Tensor:
        grouped: torch.Tensor = tensor.unflatten(0, (prompts, -1))
        return grouped.transpose(1, 2).flatten(2, 4)  # (B, K, followers x r x T, ...)

    seen = by_prompt(query) @ key.prompt.transpose(2, 3)  # (B, K, followers x r x T, P)
    if mask is not None:
        seen = seen.masked_fill(~mask[:: rows // prompts, :, :1, :before], float("-inf"))
    seen = seen.unflatten(2, (-1, repeats, length)).transpose(1, 2).flatten(0, 1)  # (N, K, r, T, P)
    itself = query.flatten(2, 3) @ key.own.transpose(2, 3)  # (N, K, r x T, own)
    itself = itself.unflatten(2, (repeats, length))
    if length > 1:
        later = torch.ones(length, own, dtype=torch.bool, device=query.device).triu(own - length + 1)
        itself = itself.masked_fill(later, float("-inf"))
    scores = torch.cat([seen, itself], dim=-1).float() * scaling
    weights = scores.softmax(dim=-1).to(query.dtype)
    of_prompts = (by_prompt(weights[..., :before]) @ value.prompt).unflatten(2, (-1, repeats, length))
    of_own = (weights[..., before:].flatten(2, 3) @ value.own).unflatten(2, (repeats, length))
    told: torch.Tensor = of_prompts.transpose(1, 2).flatten(0, 1) + of_own
    return told.flatten(1, 2).transpose(1, 2)


def _followers_alone(module: Any, args: Any, kwargs: dict[str, Any], output: Any) -> Any:
    """Drop what the text model says of prompts: no head has to be computed over it."""
    layout = kwargs.get(NAME)
    if layout is not None:
        output.last_hidden_state = layout.take_apart(output.last_hidden_state)
    return output


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, sdpa_mask)
