"""The `train` stage's work: GRPO from the warm start, and beside it the SFT baseline with the same compute."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from suasion.errors import SuasionError
from suasion.listener.local import LocalListener
from suasion.params import Params, Supervised
from suasion.records import PRESCORE, read
from suasion.shards import ShardDataset
from suasion.stage import checkpoint_folder
from suasion.training.grpo import LOG_COLUMNS, train_grpo
from suasion.training.log import write_log
from suasion.training.rows import Row, make_rows
from suasion.training.sft import Shuffled, grpo_flops, sft_flops, voted_lessons
from suasion.training.supervised import train_supervised
from suasion.vlm.chat import reasoner_messages
from suasion.vlm.cost import cost_of
from suasion.vlm.inputs import prompt_inputs, render
from suasion.vlm.load import load_model, load_processor, save

SHARDS, PRIORS = Path("data/shards"), Path("data/prescore/scores.parquet")
WARMSTART, LISTENER = Path("data/warmstart/reasoner"), Path("data/listener/model")


def run(params: Params, out: Path) -> None:
    """Write `reasoner/`, `log.csv`, `summary.json` and, where asked for, `sft/` and `sft_log.csv`.

    Raises:
        SuasionError: the warm start leaves the SFT baseline nothing to learn from.
    """
    settings = params.train
    scores = read(PRIORS, PRESCORE)
    priors = dict(zip(scores["pair_id"], scores["p_a_prior"], strict=True))
    processor = load_processor(WARMSTART)
    rows = make_rows(ShardDataset(SHARDS, "train"), priors, seed=params.seed)
    out.mkdir(parents=True, exist_ok=True)

    model = load_model(WARMSTART, bf16=settings.bf16).train()
    listener_model = load_model(LISTENER, bf16=settings.bf16)
    listener = LocalListener(listener_model, load_processor(LISTENER), batch_size=settings.micro_batch)
    history = train_grpo(
        model,
        processor,
        rows,
        listener,
        settings,
        checkpoints=checkpoint_folder("train/grpo", _key(params), [SHARDS, PRIORS, WARMSTART, LISTENER]),
        seed=params.seed,
        label="GRPO",
    )
    save(model, processor, out / "reasoner")
    write_log(history, out / "log.csv", LOG_COLUMNS)
    summary: dict[str, Any] = {"pairs": len(rows), "steps": settings.steps}
    if settings.sft_baseline:
        summary |= _train_sft(params, rows, history, cost_of(listener_model), out)
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")


def _train_sft(
    params: Params, rows: list[Row], history: list[dict[str, float]], heard: Any, out: Path
) -> dict[str, Any]:
    """The baseline, for as many steps as cost what GRPO's steps cost; returns what the summary says of it."""
    settings = params.train
    model, processor = load_model(WARMSTART, bf16=settings.bf16), load_processor(WARMSTART)
    lessons = voted_lessons(
        model,
        processor,
        rows,
        max_new_tokens=settings.max_completion_tokens,
        batch_size=params.evaluate.batch_size,
    )
    if not lessons:
        raise SuasionError(
            "no explanation of the warm start parses, so there is nothing for the SFT baseline to learn",
            where="params.yaml: train.sft_baseline",
            do="give the warm start more steps, or set train.sft_baseline to false",
        )
    prompt, patches = _mean_size(processor, rows[:64])
    reply = float(np.mean([row["completions/mean_length"] for row in history if "completions/mean_length" in row]))
    cost, size = cost_of(model), {"prompt": prompt, "reply": reply, "patches": patches}
    batch = params.warmstart.batch_size
    completions = settings.prompts_per_step * settings.generations
    grpo = settings.steps * grpo_flops(cost, heard, completions=completions, reference=settings.kl > 0, **size)
    sft = sft_flops(cost, lessons=batch, **size)
    supervised = Supervised(
        steps=round(grpo / sft), batch_size=batch, learning_rate=params.warmstart.learning_rate / 3, lora=settings.lora
    )
    log = train_supervised(
        model.train(),
        processor,
        Shuffled(lessons, supervised.steps * batch, seed=params.seed),
        supervised,
        checkpoints=checkpoint_folder("train/sft", _key(params), [SHARDS, WARMSTART]),
        seed=params.seed,
        label="SFT baseline",
    )
    save(model, processor, out / "sft")
    write_log(log, out / "sft_log.csv", {"loss": "loss"})
    return {"sft_steps": supervised.steps, "sft_lessons": len(lessons), "grpo_tflop": round(grpo / 1e12, 3)}


def _mean_size(processor: Any, rows: list[Row]) -> tuple[float, float]:
    """Mean prompt tokens, and mean patches of both images together."""
    texts = [render(processor, reasoner_messages(row.prompt)) for row in rows]
    inputs = prompt_inputs(processor, texts, [row.images() for row in rows], torch.device("cpu"))
    patches = inputs["image_grid_thw"].prod(dim=1).sum()
    return float(inputs["attention_mask"].sum()) / len(rows), float(patches) / len(rows)


def _key(params: Params) -> list[Any]:
    return [params.seed, params.threads, params.train.model_dump(mode="json")]
