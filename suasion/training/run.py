"""The `train` stage's work: GRPO from the warm start, and beside it the SFT baseline with the same compute.

GRPO runs in the stage's process, or as several (`train.launch`): then this module is what each of them runs.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from polars import read_csv

from suasion.errors import SuasionError
from suasion.listener.local import LocalListener
from suasion.params import Params, Supervised, load_params
from suasion.records import PRESCORE, read
from suasion.shards import ShardDataset
from suasion.stage import checkpoint_folder
from suasion.training.checkpoints import WHOLE, is_first, load_gathered, wait_for_all
from suasion.training.grpo import LOG_COLUMNS, train_grpo
from suasion.training.launch import as_process, launch
from suasion.training.log import write_log
from suasion.training.rows import Row, make_rows
from suasion.training.sft import Shuffled, grpo_flops, sft_flops, voted_lessons
from suasion.training.supervised import train_supervised
from suasion.vlm.chat import reasoner_messages
from suasion.vlm.cost import cost_of
from suasion.vlm.inputs import prompt_inputs, render
from suasion.vlm.load import load_model, load_processor, outline, save

SHARDS, PRIORS = Path("data/shards"), Path("data/prescore/scores.parquet")
WARMSTART, LISTENER = Path("data/warmstart/reasoner"), Path("data/listener/model")


def run(params: Params, out: Path) -> None:
    """Write `reasoner/`, `log.csv`, `summary.json` and, where asked for, `sft/` and `sft_log.csv`.

    Raises:
        SuasionError: the warm start leaves the SFT baseline nothing to learn from; or what a process of GRPO has reported.
    """
    settings = params.train
    out.mkdir(parents=True, exist_ok=True)
    if settings.launch is None or settings.launch.processes == 1:
        train(params, out)
    else:
        launch(settings.launch, __name__, str(out))
        _put_together(params, out)
    summary: dict[str, Any] = {"pairs": len(ShardDataset(SHARDS, "train")), "steps": settings.steps}
    if settings.sft_baseline:
        summary |= _train_sft(params, out)
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")


def train(params: Params, out: Path) -> None:
    """GRPO, as one process or as one of several: all read the same rows, the first one writes `reasoner/` and `log.csv`."""
    settings = params.train
    processor = load_processor(WARMSTART)
    model = load_model(WARMSTART, bf16=settings.bf16).train()
    listener_model = load_model(LISTENER, bf16=settings.bf16)
    listener = LocalListener(listener_model, load_processor(LISTENER), batch_size=settings.micro_batch)
    checkpoints = _checkpoints(params)
    history = train_grpo(
        model,
        processor,
        _rows(params),
        listener,
        settings,
        checkpoints=checkpoints,
        seed=params.seed,
        label="GRPO",
    )
    if is_first():
        if not (checkpoints / WHOLE).is_dir():
            save(model, processor, out / "reasoner")
        write_log(history, out / "log.csv", LOG_COLUMNS)
    wait_for_all()


def _put_together(params: Params, out: Path) -> None:
    """Write `reasoner/` of a model that was trained in parts. Not in the processes that trained it: DeepSpeed cuts there
    whatever is loaded."""
    whole = _checkpoints(params) / WHOLE
    if whole.is_dir():
        model = load_gathered(whole, load_model(WARMSTART, bf16=params.train.bf16))
        save(model, load_processor(WARMSTART), out / "reasoner")


def _checkpoints(params: Params) -> Path:
    return checkpoint_folder("train/grpo", _key(params), [SHARDS, PRIORS, WARMSTART, LISTENER])


def _train_sft(params: Params, out: Path) -> dict[str, Any]:
    """The baseline, for as many steps as cost what GRPO's steps cost; returns what the summary says of it.

    In the stage's own process, whoever trained GRPO: its batches and its result are the same everywhere.
    """
    settings = params.train
    rows = _rows(params)
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
    reply = float(np.mean(read_csv(out / "log.csv")["length"].to_numpy()))
    cost, size = cost_of(model), {"prompt": prompt, "reply": reply, "patches": patches}
    batch = params.warmstart.batch_size
    completions = settings.prompts_per_step * settings.generations
    heard = cost_of(outline(LISTENER))
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


def _rows(params: Params) -> list[Row]:
    scores = read(PRIORS, PRESCORE)
    priors = dict(zip(scores["pair_id"], scores["p_a_prior"], strict=True))
    return make_rows(ShardDataset(SHARDS, "train"), priors, seed=params.seed)


def _mean_size(processor: Any, rows: list[Row]) -> tuple[float, float]:
    """Mean prompt tokens, and mean patches of both images together."""
    texts = [render(processor, reasoner_messages(row.prompt)) for row in rows]
    inputs = prompt_inputs(processor, texts, [row.images() for row in rows], torch.device("cpu"))
    patches = inputs["image_grid_thw"].prod(dim=1).sum()
    return float(inputs["attention_mask"].sum()) / len(rows), float(patches) / len(rows)


def _key(params: Params) -> list[Any]:
    return [params.seed, params.threads, params.train.model_dump(mode="json")]


if __name__ == "__main__":  # one of the processes that `run` has launched; its argument is the folder to write to
    as_process(lambda: train(load_params(), Path(sys.argv[1])))
