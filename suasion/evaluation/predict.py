"""What a reasoner says of every pair in both orders of presentation, and what listeners make of it.

`LISTENERS` are the frozen one that training is rewarded by, and the warm start, which no reward has asked.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from suasion.engine import device, run
from suasion.evaluation.samples import in_order
from suasion.listener.local import Hearing, LocalListener, answer_slot
from suasion.params import Params
from suasion.progress import progress
from suasion.records import HEARD, PREDICTION
from suasion.shards.sample import Sample
from suasion.vlm.chat import parse_completion
from suasion.vlm.generate import Completion, Request, complete_with_answers
from suasion.vlm.load import load_model, load_processor
from suasion.world.lessons import is_exact

LISTENERS = {"listener": Path("data/listener/model"), "warmstart": Path("data/warmstart/reasoner")}
"""The first is the one that `PREDICTION` speaks of."""


def predict(
    model: Path, listeners: Mapping[str, Path], samples: Sequence[Sample], *, name: str, params: Params
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """What the model in the folder `model` says, greedily, and what `listeners` (folders by name) hear in it.

    Returns:
        Two rows of `PREDICTION` (orders `ab` and `ba`) for every sample, decided pairs before ties; and for each of them
        that parses a row of `HEARD` by every listener.
    """
    # Ties come last: padding depends on who shares a batch, and ties should not touch what is said of decided pairs.
    in_turn = sorted(samples, key=lambda sample: bool(sample.pair["label"] == "tie"))
    asked = [(sample, order) for sample in in_turn for order in ("ab", "ba")]
    size = params.evaluate.batch_size
    batches = [asked[start : start + size] for start in range(0, len(asked), size)]
    ask = functools.partial(_Exam, model, dict(listeners), name=name, params=params)
    rows = run(ask, batches, engine=params.evaluate.engine, threads=params.threads)
    told = list(progress(rows, total=len(asked), label=f"evaluating {name}"))
    heard = [row for _, by_listener in told for row in by_listener]
    return pl.DataFrame([row for row, _ in told], schema=PREDICTION), pl.DataFrame(heard, schema=HEARD)


class _Exam:
    """Asks a reasoner one batch of questions, and has listeners hear what it says; a batch is a unit of work."""

    def __init__(self, model: Path, listeners: Mapping[str, Path], *, name: str, params: Params) -> None:
        bf16, self.size = params.train.bf16, params.evaluate.batch_size
        self.name, self.max_new_tokens = name, params.train.max_completion_tokens
        self.model, self.processor = load_model(model, bf16=bf16).to(device()), load_processor(model)
        self.listeners = {
            listener: LocalListener(
                load_model(folder, bf16=bf16).to(device()), load_processor(folder), batch_size=self.size
            )
            for listener, folder in listeners.items()
        }
        _, self.choices = answer_slot(self.processor)

    def __call__(self, batch: Sequence[tuple[Sample, str]]) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
        images = [in_order(sample, order) for sample, order in batch]
        requests = [Request(sample.pair["prompt"], *shown) for (sample, _), shown in zip(batch, images, strict=True)]
        said = complete_with_answers(
            self.model,
            self.processor,
            requests,
            self.choices,
            max_new_tokens=self.max_new_tokens,
            batch_size=self.size,
        )
        return _judge(batch, requests, said, self.listeners, self.name)


def _judge(
    batch: Sequence[tuple[Sample, str]],
    requests: Sequence[Request],
    said: Sequence[Completion],
    listeners: Mapping[str, LocalListener],
    name: str,
) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    parsed = [parse_completion(completion.text) for completion in said]
    hearings = {index: Hearing(*requests[index], parts[0]) for index, parts in enumerate(parsed) if parts is not None}
    scores = {
        listener: dict(zip(hearings, ear.score([*hearings.values()]).mean(axis=1).tolist(), strict=True))
        for listener, ear in listeners.items()
        if hearings
    }
    rows = []
    for index, ((sample, order), completion, parts) in enumerate(zip(batch, said, parsed, strict=True)):
        pair = sample.pair
        explanation, choice, heard = None, None, []
        if parts is not None:
            explanation, choice = parts[0], order[parts[1] - 1]
            heard = [
                {
                    "model": name,
                    "pair_id": pair["pair_id"],
                    "order": order,
                    "listener": listener,
                    "p_a": (p_a := _of_a(of[index], order)),
                    "contradiction": (p_a >= 0.5) != (choice == "a"),
                }
                for listener, of in scores.items()
            ]
        first = heard[0] if heard else {}
        scenes = (sample.scene_a, sample.scene_b) if order == "ab" else (sample.scene_b, sample.scene_a)
        row = {
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
            "listener_p_a": first.get("p_a"),
            "contradiction": first.get("contradiction"),
            "faithful": is_exact(explanation, pair["prompt"], *scenes),
        }
        rows.append((row, heard))
    return rows


def _of_a(p_first: float, order: str) -> float:
    return p_first if order == "ab" else 1 - p_first
