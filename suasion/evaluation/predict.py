"""What a reasoner says of every pair in both orders of presentation, and what the listener makes of it."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from suasion.engine import device, run
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
    # Ties come last: padding depends on who shares a batch, and ties should not touch what is said of decided pairs.
    in_turn = sorted(samples, key=lambda sample: bool(sample.pair["label"] == "tie"))
    asked = [(sample, order) for sample in in_turn for order in ("ab", "ba")]
    size = params.evaluate.batch_size
    batches = [asked[start : start + size] for start in range(0, len(asked), size)]
    ask = functools.partial(_Exam, model_folder, listener_folder, name=name, params=params)
    rows = run(ask, batches, engine=params.evaluate.engine, threads=params.threads)
    return pl.DataFrame(list(progress(rows, total=len(asked), label=f"evaluating {name}")), schema=PREDICTION)


class _Exam:
    """Asks a reasoner one batch of questions, and has the listener hear what it says; a batch is a unit of work."""

    def __init__(self, model_folder: Path, listener_folder: Path, *, name: str, params: Params) -> None:
        bf16, self.size = params.train.bf16, params.evaluate.batch_size
        self.name, self.max_new_tokens = name, params.train.max_completion_tokens
        self.model, self.processor = load_model(model_folder, bf16=bf16).to(device()), load_processor(model_folder)
        ear = load_model(listener_folder, bf16=bf16).to(device())
        self.listener = LocalListener(ear, load_processor(listener_folder), batch_size=self.size)
        _, self.choices = answer_slot(self.processor)

    def __call__(self, batch: Sequence[tuple[Sample, str]]) -> list[dict[str, Any]]:
        images = [_in_order(sample, order) for sample, order in batch]
        requests = [Request(sample.pair["prompt"], *shown) for (sample, _), shown in zip(batch, images, strict=True)]
        said = complete_with_answers(
            self.model,
            self.processor,
            requests,
            self.choices,
            max_new_tokens=self.max_new_tokens,
            batch_size=self.size,
        )
        return _judge(batch, requests, said, self.listener, self.name)


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
