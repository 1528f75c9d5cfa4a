from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Trainer, TrainingArguments

from suasion.training.checkpoints import MARKER, WHOLE, MarkComplete, gather, last_complete, load_gathered


def save(folder: Path, step: int) -> None:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / "weights").write_bytes(b"w" * step)


def mark(folder: Path, step: int) -> None:
    MarkComplete().on_save(SimpleNamespace(output_dir=str(folder)), SimpleNamespace(global_step=step), None)


def test_an_incomplete_checkpoint_is_deleted_and_the_one_before_it_used(tmp_path: Path) -> None:
    for step in (5, 10, 100):
        save(tmp_path, step)
    mark(tmp_path, 5)
    save(tmp_path, 20)
    mark(tmp_path, 20)
    assert last_complete(tmp_path) == tmp_path / "checkpoint-20"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-20", "checkpoint-5"]


def test_without_a_complete_one_there_is_none(tmp_path: Path) -> None:
    assert last_complete(tmp_path) is None
    save(tmp_path, 3)
    assert last_complete(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (9, 10, 11, 100):
        save(tmp_path, step)
        mark(tmp_path, step)
    assert sorted(path.parent.name for path in tmp_path.glob(f"*/{MARKER}")) == ["checkpoint-100", "checkpoint-11"]


@pytest.mark.parametrize("adapters", [False, True])
def test_what_was_gathered_is_the_whole_model(tmp_path: Path, tiny_model: Callable[..., Any], adapters: bool) -> None:
    trained = tiny_model(0)
    if adapters:
        from peft import LoraConfig, get_peft_model

        trained = get_peft_model(trained, LoraConfig(r=2, target_modules=".*language_model.*q_proj"))
    with torch.no_grad():
        for weight in trained.parameters():
            if weight.requires_grad:
                weight.add_(0.1)
    arguments = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to=[])
    gather(Trainer(model=trained, args=arguments), tmp_path / WHOLE)
    whole = load_gathered(tmp_path / WHOLE, tiny_model(0))
    expected = trained.merge_and_unload() if adapters else trained
    for (name, weight), other in zip(expected.named_parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(weight, other, msg=name)
    assert any(
        not torch.equal(weight, other)
        for weight, other in zip(whole.parameters(), tiny_model(0).parameters(), strict=True)
    )
