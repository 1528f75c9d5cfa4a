"""GRPO that computes a prompt and its images once for all completions of a group: TRL's trainer with three methods replaced.

TRL repeats prompt and pixels for every completion, in the rollout, in the reference's forward and in the one that is trained.
With two images the prompt is most of the tokens. Log-probabilities, loss and gradients are the same (`suasion.vlm.prefix`);
what is different is the order in which the completions of a generation are split into micro-batches: groups stay together.

Given up: sharing where a group is divided over micro-batches or processes goes no further than these; TRL still hands the
pixels of a group over once per completion, which costs memory but no computation.
"""

import math
from typing import Any

import torch
from trl import GRPOTrainer
from trl.trainer.utils import split_pixel_values_by_grid, split_tensor_dict, unsplit_pixel_values_by_grid

from suasion.vlm.prefix import generating_groups, pack, share_prefixes

REPLACED = ("_prepare_inputs", "_tokenize_prompts", "_generate_single_turn", "_get_per_token_logps_and_entropies")
"""Methods of TRL's trainer that are overridden: a test says which of them TRL has changed."""


class GroupedGRPOTrainer(GRPOTrainer):
    """`trl.GRPOTrainer` for Qwen2-VL, Qwen2.5-VL and Qwen3-VL; takes and does what that one does, with less computation.

    `per_device_train_batch_size` should be a multiple of `num_generations`, or divide it: as many completions as both have
    in common share a prompt. vLLM, which shares prefixes itself, generates as ever.
    """

    _buffered_inputs: list[dict[str, Any]] | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for model in (self.model, self.ref_model):
            if model is not None:
                share_prefixes(self.accelerator.unwrap_model(model))

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        # TRL's, but that it shuffles completions. The order of groups is already that of the shuffled rows.
        if not self.model.training:
            return super()._prepare_inputs(generation_batch)
        steps = self.args.steps_per_generation
        if self._step % (steps * self.num_iterations) == 0 or self._buffered_inputs is None:
            scored = split_pixel_values_by_grid(self._generate_and_score_completions(generation_batch))
            self._buffered_inputs = [unsplit_pixel_values_by_grid(part) for part in split_tensor_dict(scored, steps)]
        return self._buffered_inputs[self._step % steps]

    def _tokenize_prompts(self, prompts: list[Any]) -> Any:
        """Of every group one prompt, and its images, go through the processor."""
        group = self._in_common(len(prompts))
        ids, images, fields = super()._tokenize_prompts(prompts[::group])
        images = images and [found for found in images for _ in range(group)]
        return [row for row in ids for _ in range(group)], images, fields

    def _generate_single_turn(self, prompt_ids: list[Any], *args: Any, **kwargs: Any) -> Any:
        if self.use_vllm or self.use_transformers_continuous_batching:
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)
        group = self._in_common(len(prompt_ids))
        with generating_groups(self.accelerator.unwrap_model(self.model), group):
            return super()._generate_single_turn(prompt_ids[::group], *args, **kwargs)

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        *,
        num_images: list[int] | None = None,
        pixel_values: torch.Tensor | None = None,
        image_grid_thw: torch.Tensor | None = None,
        mm_token_type_ids: torch.Tensor | None = None,
        **_: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None, None]:
        """(N, logits_to_keep) each: of N rows, in which the completions of a group are next to each other."""
        count = len(input_ids)
        size = batch_size or count
        if mm_token_type_ids is None:
            mm_token_type_ids = torch.zeros_like(input_ids)
        per_row = num_images or [0] * count
        pixels = _by_row(pixel_values, image_grid_thw, per_row)
        grids = _by_row(image_grid_thw, None, per_row)
        logps, entropies = [], []
        for start in range(0, count, size):
            part = slice(start, min(start + size, count))
            group = self._in_common(part.stop - part.start)
            one = slice(part.start, part.stop, group)
            images = {
                "pixel_values": _joined(pixels[one]),
                "image_grid_thw": _joined(grids[one]),
            }
            found = self._score(
                model,
                input_ids[part],
                attention_mask[part],
                mm_token_type_ids[part],
                logits_to_keep,
                group,
                {name: value for name, value in images.items() if value is not None},
            )
            logps.append(found.log_probs)
            entropies.append(found.entropy)
        joined = [torch.nn.functional.pad(x, (0, logits_to_keep - x.shape[1])) for x in logps]
        if not compute_entropy:
            return torch.cat(joined), None, None
        spread = [torch.nn.functional.pad(x, (0, logits_to_keep - x.shape[1])) for x in entropies]
        return torch.cat(joined), torch.cat(spread), None

    def _score(
        self,
        model: Any,
        ids: torch.Tensor,
        mask: torch.Tensor,
        types: torch.Tensor,
        logits_to_keep: int,
        group: int,
        images: dict[str, torch.Tensor],
    ) -> Any:
        """TRL's fused head over the completions (N, longest of them); a prompt is in the model once for `group` rows."""
        prompts = slice(None, None, group)
        length = max(1, int(mask[:, -logits_to_keep:].sum(dim=1).max()))
        end = ids.shape[1] - logits_to_keep
        begin = int(mask[prompts, :end].argmax(dim=1).min())  # what is before it is padding in every row
        assert torch.equal(ids[prompts, begin:end].repeat_interleave(group, dim=0), ids[:, begin:end]), "not a group"
        completions = ids[:, end : end + length]
        # The last token of the prompt gives the first one of a completion: it goes with each of them.
        followers = torch.cat([ids[:, end - 1 : end], completions[:, :-1]], dim=1).unflatten(0, (-1, group))
        packed = pack(
            self.accelerator.unwrap_model(model),
            ids[prompts, begin : end - 1],
            mask[prompts, begin : end - 1],
            followers,
            mm_token_type_ids=types[prompts, begin : end - 1],
            image_grid_thw=images.get("image_grid_thw"),
        )
        labels = completions.masked_fill(mask[:, end : end + length] == 0, -100)
        with self.accelerator.autocast():
            return model(**packed, **images, shift_labels=labels, fused_lm_head=True)

    def _in_common(self, rows: int) -> int:
        """How many of `rows` that begin with a group are sure to be of one prompt, again and again."""
        return math.gcd(rows, self.num_generations if self.model.training else self.num_generations_eval)


def _by_row(
    values: torch.Tensor | None, grids: torch.Tensor | None, images: list[int]
) -> list[torch.Tensor] | list[None]:
    """`values` of images, or with `grids` of their patches, split to rows that have so many `images`."""
    if values is None:
        return [None] * len(images)
    if grids is None:
        return list(torch.split(values, images))
    patches = [int(row.prod(dim=-1).sum()) for row in torch.split(grids, images)]
    return list(torch.split(values, patches))


def _joined(rows: list[Any]) -> torch.Tensor | None:
    return None if rows[0] is None else torch.cat(rows)
