"""What a reasoner says of every pair in both orders of presentation, and what the listener makes of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from suasion.listener.local import Hearing, LocalListener, answer_slot
from suasion.params import Params
from suasion.progress import progress
from suasion.records import PREDICTION
from suasion.shards.sample import Sample
from suasion.vlm.chat import parse_completion
from suasion.vlm.generate import Completion, Request, complete_with_answers
from suasion.vlm.load import load_model, load_processor
from suasion.world.lessons import is_exact


def predict(
    model_folder: Path, listener_folder: Path, samples: Sequence[Sample], *, name: str, params: Params
) -> pl.DataFrame:
    """Two rows of `PREDICTION` (orders `ab` and `ba`) for every sample, decided pairs before ties; greedy completions."""
    model, processor = load_model(model_folder, bf16=params.train.bf16), load_processor(model_folder)
    size = params.evaluate.batch_size
    listener = LocalListener(
        load_model(listener_folder, bf16=params.train.bf16), load_processor(listener_folder), batch_size=size
    )
    # Ties come last: padding depends on who shares a batch, and ties should not touch what is said of decided pairs.
    in_turn = sorted(samples, key=lambda sample: bool(sample.pair["label"] == "tie"))
    asked = [(sample, order) for sample in in_turn for order in ("ab", "ba")]
    _, choices = answer_slot(processor)
    starts = range(0, len(asked), size)
    rows: list[dict[str, Any]] = []
    for start in progress(starts, total=len(starts), label=f"evaluating {name}"):
        batch = asked[start : start + size]
        images = [_in_order(sample, order) for sample, order in batch]
        requests = [Request(sample.pair["prompt"], *shown) for (sample, _), shown in zip(batch, images, strict=True)]
        said = complete_with_answers(
            model, processor, requests, choices, max_new_tokens=params.train.max_completion_tokens, batch_size=size
        )
        rows += _judge(batch, requests, said, listener, name)
    return pl.DataFrame(rows, schema=PREDICTION)


def _in_order(sample: Sample, order: str) -> tuple[Any, Any]:
    a, b = sample.open_a(), sample.open_b()
    return (a, b) if order == "ab" else (b, a)


def _judge(
    batch: Sequence[tuple[Sample, str]],
    requests: Sequence[Request],
    said: Sequence[Completion],
    listener: LocalListener,
    name: str,
) -> list[dict[str, Any]]:
    parsed = [parse_completion(completion.text) for completion in said]
    heard = [index for index, parts in enumerate(parsed) if parts is not None]
    hearings = [Hearing(*requests[index], parts[0]) for index in heard if (parts := parsed[index]) is not None]
    p_heard = np.full(len(batch), np.nan)
    if hearings:
        p_heard[heard] = listener.score(hearings).mean(axis=1)
    rows = []
    for index, ((sample, order), completion, parts) in enumerate(zip(batch, said, parsed, strict=True)):
        explanation, choice, listener_p_a, contradiction = None, None, None, None
        if parts is not None:
            explanation, choice = parts[0], order[parts[1] - 1]
            listener_p_a = _of_a(float(p_heard[index]), order)
            contradiction = (listener_p_a >= 0.5) != (choice == "a")
        pair = sample.pair
        scenes = (sample.scene_a, sample.scene_b) if order == "ab" else (sample.scene_b, sample.scene_a)
        rows.append(
            {
                "model": name,
                "pair_id": pair["pair_id"],
                "prompt_id": pair["prompt_id"],
                "split": pair["split"],
                "order": order,
                "label": pair["label"],
                "completion": completion.text,
                "explanation": explanation,
                "choice": choice,
                "p_a": None if completion.p_first is None else _of_a(completion.p_first, order),
                "correct": choice == pair["label"],
                "listener_p_a": listener_p_a,
                "contradiction": contradiction,
                "faithful": is_exact(explanation, pair["prompt"], *scenes),
            }
        )
    return rows


def _of_a(p_first: float, order: str) -> float:
    return p_first if order == "ab" else 1 - p_first
