"""Supervised steps of a vision-language model, by transformers' Trainer: captions, cold start, listener, SFT.

Whole models are trained by Muon (`suasion.training.muon`), adapters by AdamW. Given up: packing and multi-task mixing. One
lesson is one row of a batch; the loss is over its reply alone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, Trainer, TrainingArguments

from suasion.params import Supervised
from suasion.training.checkpoints import MarkComplete, ResumesWeights, is_first, last_complete
from suasion.training.log import ShowProgress
from suasion.training.muon import MuonWithAdamW
from suasion.vlm.inputs import render, training_inputs


class Collate:
    """Turns lessons (`messages`, `images`, `reply`) into one batch of tensors."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor

    def __call__(self, lessons: Sequence[Any]) -> Any:
        texts = [render(self.processor, lesson.messages) for lesson in lessons]
        return training_inputs(
            self.processor, texts, [lesson.reply for lesson in lessons], [lesson.images for lesson in lessons]
        )


class _InOrder(ResumesWeights, Trainer):
    """Takes the lessons in their own order: they are drawn at random already, or shuffled by whoever made them."""

    def _get_train_sampler(self, *_: Any, **__: Any) -> Any:
        return torch.utils.data.SequentialSampler(self.train_dataset)  # type: ignore[arg-type]

    def create_optimizer(self, model: Any = None) -> Any:
        settings: Any = self.args
        if isinstance(self.model, PreTrainedModel):  # not adapters
            self.optimizer = MuonWithAdamW(self.model, lr=settings.learning_rate, weight_decay=settings.weight_decay)
        return super().create_optimizer(model)


def train_supervised(
    model: Any,
    processor: Any,
    lessons: Sequence[Any],
    settings: Supervised,
    *,
    checkpoints: Path,
    seed: int,
    label: str,
) -> list[dict[str, float]]:
    """Train `model` in place on `lessons` in order, `settings.batch_size` a step; returns the trainer's log.

    A run that was killed goes on from its last complete checkpoint in `checkpoints`.
    """
    if settings.steps == 0:
        return []
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": 0.1},
        warmup_steps=min(50, settings.steps // 10),
        adam_beta2=0.95,
        weight_decay=0.01,
        max_grad_norm=1.0,
        logging_steps=max(1, settings.steps // 40),
        save_steps=max(25, settings.steps // 6),
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        seed=seed,
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = _InOrder(
        model=_with_lora(model, settings),
        args=arguments,
        train_dataset=lessons,  # type: ignore[arg-type]  # any sized, indexed collection serves
        data_collator=Collate(processor),
        callbacks=[MarkComplete(), ShowProgress(label)],
    )
    quiet(trainer)
    trainer.train(resume_from_checkpoint=announce_resume(checkpoints, label))
    if settings.lora is not None:
        trainer.model.merge_and_unload()
    history: list[dict[str, float]] = trainer.state.log_history
    return history


def quiet(trainer: Any) -> None:
    """Take away the callback that prints every logged row: the log goes to a file, the terminal has a bar."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)


def announce_resume(checkpoints: Path, label: str) -> str | None:
    """The checkpoint to go on from, said aloud, or None."""
    found = last_complete(checkpoints)
    if found is None:
        return None
    if is_first():
        print(f"{label}: resuming from {found.name}", flush=True)
    return str(found)


def _with_lora(model: Any, settings: Supervised) -> Any:
    if settings.lora is None:
        return model
    from peft import LoraConfig, get_peft_model

    lora = settings.lora
    return get_peft_model(model, LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=lora.target))
