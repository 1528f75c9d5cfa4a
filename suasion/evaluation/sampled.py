"""Several answers of a reasoner to each pair, drawn at temperature 1, half of them in either order: what votes are made of.

A prompt and its images are computed once for all its answers (`suasion.vlm.prefix`). The draws of a batch start from a seed
of their own, so that they do not depend on which process takes it. Given up: explanations; only choices are kept.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import torch

from suasion.engine import device, run
from suasion.evaluation.samples import in_order
from suasion.params import Params
from suasion.progress import progress
from suasion.records import SAMPLED
from suasion.shards.sample import Sample
from suasion.vlm.chat import parse_completion, reasoner_messages
from suasion.vlm.inputs import image_tokens, prompt_inputs, render
from suasion.vlm.load import load_model, load_processor
from suasion.vlm.prefix import generating_groups, share_prefixes

ORDERS = ("ab", "ba")
Asked = tuple[int, Sequence[tuple[Sample, str]]]
"""The number of a batch, and pairs with the order in which their images are shown."""


def sample_answers(model: Path, samples: Sequence[Sample], *, name: str, params: Params) -> pl.DataFrame:
    """`evaluate.samples` rows of `SAMPLED` for every sample, its orders in turn."""
    each = params.evaluate.samples // len(ORDERS)
    asked = [(sample, order) for sample in samples for order in ORDERS]
    size = max(1, params.evaluate.batch_size // each)
    batches = [(start, asked[start : start + size]) for start in range(0, len(asked), size)]
    build = functools.partial(_Polls, model, name=name, params=params, each=each)
    rows = run(build, batches, engine=params.evaluate.engine, threads=params.threads)
    told = list(progress(rows, total=len(asked) * each, label=f"sampling {name}"))
    return pl.DataFrame(told, schema=SAMPLED).sort("pair_id", "sample", maintain_order=True)


class _Polls:
    """Draws `each` answers to every question of a batch; a batch is a unit of work."""

    def __init__(self, model: Path, *, name: str, params: Params, each: int) -> None:
        self.name, self.each, self.seed = name, each, params.seed
        self.max_new_tokens = params.train.max_completion_tokens
        self.model = load_model(model, bf16=params.train.bf16).to(device()).eval()
        self.processor = load_processor(model)
        share_prefixes(self.model)

    @torch.no_grad()
    def __call__(self, batch: Asked) -> list[dict[str, Any]]:
        number, asked = batch
        texts = [render(self.processor, reasoner_messages(sample.pair["prompt"])) for sample, _ in asked]
        images = [in_order(sample, order) for sample, order in asked]
        inputs = prompt_inputs(self.processor, texts, images, device())
        with torch.random.fork_rng(), generating_groups(self.model, self.each):
            torch.manual_seed(1_000_003 * self.seed + number)  # batches of other seeds than ours start elsewhere
            output = self.model.generate(
                **inputs,
                suppress_tokens=image_tokens(self.processor),
                max_new_tokens=self.max_new_tokens,
                do_sample=True,
                temperature=1.0,
                top_k=0,
                top_p=1.0,
            )
        replies = output[:, inputs["input_ids"].shape[1] :]
        said = self.processor.tokenizer.batch_decode(replies, skip_special_tokens=True)
        return [
            self._row(*asked[place // self.each], place % self.each, parse_completion(text))
            for place, text in enumerate(said)
        ]

    def _row(self, sample: Sample, order: str, turn: int, parts: tuple[str, int] | None) -> dict[str, Any]:
        of_pair = {key: sample.pair[key] for key in ("pair_id", "prompt_id", "split", "label")}
        return {
            "model": self.name,
            **of_pair,
            "order": order,
            "sample": len(ORDERS) * turn + ORDERS.index(order),
            "choice": None if parts is None else order[parts[1] - 1],
        }
