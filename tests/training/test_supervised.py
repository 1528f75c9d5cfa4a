"""Supervised steps through the real trainer of transformers, on a random model of the production architecture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from suasion.params import Lora, Supervised
from suasion.training import supervised
from suasion.training.supervised import Collate, train_supervised
from suasion.vlm.load import load_model, save
from suasion.world.lessons import Explanations

STEPS = 30


def settings(**changes: Any) -> Supervised:
    values: dict[str, Any] = {"steps": STEPS, "batch_size": 2, "learning_rate": 1e-3, "lora": None}
    return Supervised(**(values | changes))


def train(model: Any, processor: Any, checkpoints: Path, **changes: Any) -> list[dict[str, float]]:
    lessons = Explanations(STEPS * 2, seed=0, by_lot=0)
    return train_supervised(
        model.train(), processor, lessons, settings(**changes), checkpoints=checkpoints, seed=3, label="test"
    )


class Interrupted(Exception):
    pass


class InterruptLate(TrainerCallback):
    def __init__(self, _: str) -> None: ...

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == STEPS - 2:
            raise Interrupted


def test_resuming_gives_bitwise_the_same_weights_and_log(
    tmp_path: Path,
    processor: Any,
    tiny_model: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, killed, resumed = (tiny_model(0) for _ in range(3))
    history = train(whole, processor, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(supervised, "ShowProgress", InterruptLate)
        with pytest.raises(Interrupted):
            train(killed, processor, tmp_path / "killed")
    resumed_history = train(resumed, processor, tmp_path / "killed")
    assert "resuming from checkpoint-25" in capsys.readouterr().out
    for (name, weight), other in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(weight, other), name
    losses = [[row["loss"] for row in rows if "loss" in row] for rows in (history, resumed_history)]
    assert losses[0] == losses[1]


def test_the_loss_is_over_the_reply_alone(processor: Any) -> None:
    lessons = [Explanations(2, seed=0, by_lot=0)[index] for index in range(2)]
    batch = Collate(processor)(lessons)
    for row, lesson in enumerate(lessons):
        learned = batch["labels"][row][batch["labels"][row] >= 0]
        assert processor.tokenizer.decode(learned) == f"{lesson.reply}<|im_end|>"


def test_adapters_are_merged_into_what_is_saved(tmp_path: Path, processor: Any, tiny_model: Callable[..., Any]) -> None:
    model, before = tiny_model(0), tiny_model(0)
    train(model, processor, tmp_path / "run", lora=Lora(rank=4, alpha=8, target=".*language_model.*q_proj"))
    save(model, processor, tmp_path / "trained")
    trained = load_model(tmp_path / "trained")
    moved = {
        name
        for (name, weight), other in zip(before.named_parameters(), trained.named_parameters(), strict=True)
        if not torch.equal(weight, other[1])
    }
    assert moved
    assert all("q_proj" in name for name in moved)
