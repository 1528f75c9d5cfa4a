"""GRPO by TRL's trainer, or ours that computes less: which rows it sees, with which options, and what of its log is kept.

Given up: anything of our own in the objective. What is ours is around it: prompts are counted after the processor and
never truncated, image tokens are suppressed, one optimisation step is one generation (so a checkpoint never loses a
buffered batch), and checkpoints are complete or absent.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, Image, List
from trl import GRPOConfig, GRPOTrainer

from suasion.errors import SuasionError
from suasion.listener.local import LocalListener
from suasion.params import Train, VllmServer
from suasion.rewards.accuracy import accuracy_reward
from suasion.rewards.format import format_reward
from suasion.rewards.listener import ListenerReward
from suasion.training.checkpoints import WHOLE, MarkComplete, ResumesWeights, gather
from suasion.training.grouped import GroupedGRPOTrainer
from suasion.training.log import ShowProgress
from suasion.training.rows import Row
from suasion.training.supervised import announce_resume, quiet
from suasion.vlm.chat import QUESTION, prompt_text
from suasion.vlm.inputs import image_tokens

LOG_COLUMNS = {
    "loss": "loss",
    "reward": "reward",
    "reward_format": "rewards/format_reward/mean",
    "reward_accuracy": "rewards/accuracy_reward/mean",
    "reward_listener": "rewards/listener_reward/mean",
    "listener_gain": "listener_gain",
    "contradiction": "contradiction",
    "groups_without_spread": "frac_reward_zero_std",
    "kl": "kl",
    "entropy": "entropy",
    "length": "completions/mean_length",
    "clipped": "completions/clipped_ratio",
    "grad_norm": "grad_norm",
}
"""Columns of `log.csv` and TRL's names for them."""


class _Trainer(ResumesWeights, GRPOTrainer):
    """TRL's trainer, which also finds its weights again."""


class _GroupedTrainer(ResumesWeights, GroupedGRPOTrainer):
    """The same, with a prompt computed once for its group."""


def to_dataset(rows: Sequence[Row]) -> Dataset:
    """Rows in the columns that TRL and the rewards read; images are decoded when a row is taken."""
    table = Dataset.from_dict(
        {
            "pair_id": [row.pair_id for row in rows],
            "prompt": [[{"role": "user", "content": QUESTION.format(prompt=prompt_text(row.prompt))}] for row in rows],
            "images": [[{"bytes": row.first, "path": None}, {"bytes": row.second, "path": None}] for row in rows],
            "question": [row.prompt for row in rows],
            "label": [row.label for row in rows],
            "prior": [row.prior for row in rows],
        }
    )
    return table.cast_column("images", List(Image(mode="RGB")))


def config(settings: Train, *, seed: int, output: Path, processor: Any) -> GRPOConfig:
    """TRL's options for `settings`. One optimisation step takes one generation of prompts x completions."""
    processes = settings.launch.processes if settings.launch else 1
    if settings.prompts_per_step % processes:
        raise SuasionError(
            f"train.prompts_per_step = {settings.prompts_per_step} is no multiple of {processes} processes",
            where="params.yaml: train.launch.processes",
            do="choose a divisor of prompts_per_step: each process takes whole groups",
        )
    completions = settings.prompts_per_step * settings.generations // processes
    if completions % settings.micro_batch:
        raise SuasionError(
            f"train.micro_batch = {settings.micro_batch} does not divide {completions} completions",
            where="params.yaml: train.micro_batch",
            do="choose a divisor of prompts_per_step x generations / launch.processes",
        )
    return GRPOConfig(
        output_dir=str(output),
        max_steps=settings.steps,
        per_device_train_batch_size=settings.micro_batch,
        gradient_accumulation_steps=completions // settings.micro_batch,
        num_generations=settings.generations,
        max_completion_length=settings.max_completion_tokens,
        temperature=settings.temperature,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=min(5, settings.steps // 10),
        adam_beta2=0.95,
        beta=settings.kl,
        loss_type=settings.loss,
        scale_rewards="batch",  # by its own spread, a group that differs by a hundredth would count as much as one by a half
        reward_weights=[settings.rewards.format, settings.rewards.accuracy, settings.rewards.listener],
        **_generation(settings, processes, image_tokens(processor)),
        activation_checkpointing=settings.gradient_checkpointing,
        bf16=settings.bf16,
        logging_steps=1,
        save_steps=settings.checkpoint_every,
        report_to=[],
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        ddp_find_unused_parameters=False,  # there are none, and looking for them costs a pass over the graph
        disable_tqdm=True,
        seed=seed,
        use_cpu=not torch.cuda.is_available(),
    )


def _generation(settings: Train, processes: int, suppressed: list[int]) -> dict[str, Any]:
    """TRL's options of who generates; `suppressed` tokens are never sampled."""
    vllm = settings.vllm
    if vllm is None:
        return {"use_vllm": False, "generation_kwargs": {"suppress_tokens": suppressed}}
    never = {
        "use_vllm": True,
        "vllm_mode": vllm.mode,
        "generation_kwargs": {"logit_bias": dict.fromkeys(suppressed, -100.0)},
    }
    if isinstance(vllm, VllmServer):
        return never | {"vllm_server_base_url": vllm.base_url, "vllm_server_timeout": vllm.timeout}
    if processes % vllm.tensor_parallel_size:
        raise SuasionError(
            f"train.vllm.tensor_parallel_size = {vllm.tensor_parallel_size} does not divide {processes} processes",
            where="params.yaml: train.vllm.tensor_parallel_size",
            do="choose a divisor of train.launch.processes",
        )
    return never | {
        "vllm_gpu_memory_utilization": vllm.gpu_memory_utilization,
        "vllm_tensor_parallel_size": vllm.tensor_parallel_size,
    }


def train_grpo(
    model: Any,
    processor: Any,
    rows: Sequence[Row],
    listener: LocalListener,
    settings: Train,
    *,
    checkpoints: Path,
    seed: int,
    label: str,
) -> list[dict[str, float]]:
    """Train `model` in place with the reward of Eq. 3 (arXiv 2506.22832); returns the trainer's log.

    A run that was killed goes on from its last complete checkpoint in `checkpoints`. Where processes hold parts of the model,
    `model` is of no use afterwards, and what was trained is in `checkpoints / WHOLE` (see `suasion.training.checkpoints`).
    """
    # TRL pads prompts on the left, but takes the processor's own side for the marks of which tokens are images. With
    # the other side, positions are wrong in every row that is padded, and the training forward sees other images.
    processor.tokenizer.padding_side = "left"
    kind = _GroupedTrainer if settings.grouped else _Trainer
    trainer = kind(
        model=model,
        reward_funcs=[format_reward, accuracy_reward, ListenerReward(listener)],
        args=config(settings, seed=seed, output=checkpoints, processor=processor),
        train_dataset=to_dataset(rows),
        processing_class=processor,
        callbacks=[MarkComplete(), ShowProgress(label)],
        peft_config=_lora(settings),
    )
    quiet(trainer)
    trainer.train(resume_from_checkpoint=announce_resume(checkpoints, label))
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        gather(trainer, checkpoints / WHOLE)
    elif settings.lora is not None:
        trainer.model.merge_and_unload()
    history: list[dict[str, float]] = trainer.state.log_history
    return history


def _lora(settings: Train) -> Any:
    if settings.lora is None:
        return None
    from peft import LoraConfig

    lora = settings.lora
    return LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=lora.target)
