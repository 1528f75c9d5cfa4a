"""Pre-scoring: what the listener gives each pair before anyone explains anything, and how much the order moves it.

A shard is a unit of work: batches end where it ends, so that a pair's score does not depend on who scores the other shards.
"""

import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from suasion.engine import device, run
from suasion.listener.local import Hearing, LocalListener
from suasion.params import Params
from suasion.progress import progress
from suasion.records import PRESCORE
from suasion.shards import ShardDataset
from suasion.vlm.load import load_model, load_processor


def prescore(data: ShardDataset, listener_folder: Path, *, params: Params) -> pl.DataFrame:
    """A row of `PRESCORE` and its label for every sample, in the samples' order; a batch of them is in memory at a time."""
    score = functools.partial(_Prior, data, listener_folder, batch_size=params.prescore.batch_size)
    names = [shard.name for shard in data.shards]
    rows = run(score, names, engine=params.prescore.engine, threads=params.threads)
    return pl.DataFrame(
        list(progress(rows, total=len(data), label="listener's prior")), schema={**PRESCORE, "label": pl.String()}
    )


class _Prior:
    """Scores the samples of a shard, batch by batch."""

    def __init__(self, data: ShardDataset, listener_folder: Path, *, batch_size: int) -> None:
        model, processor = load_model(listener_folder).to(device()), load_processor(listener_folder)
        self.data, self.listener = data, LocalListener(model, processor, batch_size=batch_size)

    def __call__(self, shard: str) -> Iterator[dict[str, Any]]:
        rest = iter(self.data.only(shard))
        while batch := [*itertools.islice(rest, self.listener.batch_size)]:
            hearings = [Hearing(s.pair["prompt"], s.open_a(), s.open_b(), None) for s in batch]
            for sample, (told, exchanged) in zip(batch, self.listener.score(hearings).tolist(), strict=True):
                yield {
                    "pair_id": sample.pair["pair_id"],
                    "split": sample.pair["split"],
                    "p_a_prior": (told + exchanged) / 2,
                    # A was shown first, then second: half the difference is what being first is worth.
                    "position_bias": (told - exchanged) / 2,
                    "label": sample.pair["label"],
                }


def summarise(scores: pl.DataFrame) -> dict[str, float | int | None]:
    """Pairs, the prior's accuracy against their labels (ties left out), and the mean position bias; null without pairs."""
    decided = scores.filter(pl.col("label") != "tie")
    accuracy = decided.select(((pl.col("p_a_prior") > 0.5) == (pl.col("label") == "a")).mean()).item()
    return {
        "pairs": scores.height,
        "prior_accuracy": _rounded(accuracy),
        "position_bias": _rounded(scores["position_bias"].mean()),
    }


def _rounded(value: object) -> float | None:
    return round(value, 6) if isinstance(value, float) else None
