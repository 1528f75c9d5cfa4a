"""The grouped trainer beside TRL's own: the same completions, replayed through both, move the weights to the same place."""

import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from trl import GRPOConfig, GRPOTrainer

from suasion.training.grouped import REPLACED, GroupedGRPOTrainer
from suasion.training.grpo import to_dataset
from suasion.training.rows import Row
from suasion.vlm.load import load_model, save
from suasion.world.lessons import contrast
from suasion.world.scenes import draw, encode

PINNED = {
    "_prepare_inputs": "f824e7fb07147956",
    "_tokenize_prompts": "d2d27f7c9bfda85f",
    "_generate_single_turn": "e0f02e4fc094cefd",
    "_get_per_token_logps_and_entropies": "ea73c3909275851d",
}
GROUP, COMPLETIONS = 4, 16


@pytest.mark.parametrize("name", REPLACED)
def test_trl_has_not_changed_what_is_replaced(name: str) -> None:
    found = hashlib.sha256(inspect.getsource(getattr(GRPOTrainer, name)).encode()).hexdigest()[:16]
    assert found == PINNED[name], (
        f"TRL has changed GRPOTrainer.{name}: compare it with GroupedGRPOTrainer's, then pin {found} here"
    )


@pytest.fixture
def rows() -> list[Row]:
    """Pairs whose prompts differ in length and whose images differ in size."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(8):
        prompt, scenes, answer = contrast(rng)
        first, second = (encode(draw(scene, rng, size=size)) for scene, size in zip(scenes, (32, 24), strict=True))
        made.append(Row(str(index), f"{prompt} {'again ' * (index % 3)}".strip(), first, second, answer, 0.5))
    return made


def replay(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    """Completions that follow from the prompt, the step and how many of the group were before: what TRL calls a rollout."""
    ids, _, _ = GRPOTrainer._tokenize_prompts(trainer, prompts)
    before: dict[tuple[int, ...], int] = {}
    completions = []
    for row in ids:
        number = before[tuple(row)] = before.get(tuple(row), -1) + 1
        rng = np.random.default_rng([number, trainer.state.global_step, *row])
        said = rng.integers(20, 400, rng.integers(1, 9)).tolist()
        completions.append([*said, trainer.processing_class.tokenizer.eos_token_id])
    return {"prompt_ids": ids, "completion_ids": completions, "logprobs": None}


def reward(completions: list[Any], **_: Any) -> list[float]:
    return [sum(map(ord, completion[-1]["content"])) % 97 / 97 for completion in completions]


def train(
    kind: type[GRPOTrainer], model: Any, processor: Any, rows: list[Row], output: Path, **options: Any
) -> list[dict[str, float]]:
    processor.tokenizer.padding_side = "left"
    rollout = options.pop("rollout", replay)
    micro = options.pop("micro_batch", COMPLETIONS)
    values = {
        "max_steps": 10,
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": COMPLETIONS // micro,
        "num_generations": GROUP,
        "max_completion_length": 10,
        "learning_rate": 6e-5,
        "lr_scheduler_type": "constant",
        "beta": 0.05,
        "loss_type": "dapo",
        "bf16": False,
        "scale_rewards": "batch",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "use_cpu": True,
        "seed": 1,
    }
    config = GRPOConfig(output_dir=str(output), **(values | options))
    trainer = kind(
        model=model,
        reward_funcs=[reward],
        args=config,
        train_dataset=to_dataset(rows),
        processing_class=processor,
        rollout_func=rollout,
    )
    trainer.train()
    return [row for row in trainer.state.log_history if "loss" in row]


def adapted(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    return get_peft_model(model, LoraConfig(r=4, target_modules=r".*language_model.*(q_proj|v_proj|up_proj)"))


def frozen_tower(model: Any) -> Any:
    model.model.visual.requires_grad_(False)
    return model


CASES: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "whole batches": ({}, lambda model: model),
    "two groups at a time": ({"micro_batch": 8}, lambda model: model),
    "half a group at a time": ({"micro_batch": 2, "max_steps": 4}, lambda model: model),
    "mean over completions": ({"loss_type": "grpo", "beta": 0.0}, lambda model: model),
    "two steps a generation": ({"num_iterations": 2, "max_steps": 4}, lambda model: model),
    "gradient checkpointing": ({"activation_checkpointing": True, "max_steps": 4}, lambda model: model),
    "adapters": ({}, adapted),
    "frozen vision tower": ({"max_steps": 4}, frozen_tower),
}


@pytest.mark.parametrize("case", CASES)
def test_replayed_steps_end_in_the_same_weights(
    tmp_path: Path, rows: list[Row], processor: Any, tiny_model: Callable[..., Any], case: str
) -> None:
    options, prepare = CASES[case]
    save(tiny_model(0), processor, tmp_path / "start")
    ends, logs = [], []
    for kind in (GRPOTrainer, GroupedGRPOTrainer):
        model = prepare(load_model(tmp_path / "start").train())
        logs.append(train(kind, model, processor, rows, tmp_path / "out", **options))
        ends.append(dict(model.named_parameters()))
    start = dict(prepare(load_model(tmp_path / "start")).named_parameters())
    moved = max(float((ends[0][name] - start[name]).abs().max().detach()) for name in start)
    assert moved > 1e-4, "there is something to agree on"
    for name, weight in ends[0].items():
        assert float((weight - ends[1][name]).abs().max().detach()) < 1e-5, name
    for stock, grouped in zip(*logs, strict=True):
        assert grouped["loss"] == pytest.approx(stock["loss"], abs=1e-6)
        assert grouped["grad_norm"] == pytest.approx(stock["grad_norm"], rel=1e-4)
        assert grouped.get("reward") == stock.get("reward")  # a step on completions of the one before has none
        assert grouped.get("completions/mean_length") == stock.get("completions/mean_length")


def test_sampled_groups_are_those_of_trl(
    tmp_path: Path, rows: list[Row], processor: Any, tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same seed, the same weights: both rollouts say the same, and the grouped one asks of every prompt once."""
    save(tiny_model(0), processor, tmp_path / "start")
    said: dict[str, list[Any]] = {}
    computed: dict[str, list[int]] = {}
    for kind in (GRPOTrainer, GroupedGRPOTrainer):
        model = load_model(tmp_path / "start").train()
        heard, patches = said.setdefault(kind.__name__, []), computed.setdefault(kind.__name__, [])
        score = kind._generate_and_score_completions

        def listen(trainer: Any, inputs: Any, score: Any = score, heard: list[Any] = heard) -> Any:
            torch.manual_seed(5)
            scored = score(trainer, inputs)
            heard.append(
                [
                    row[mask.bool()].tolist()
                    for row, mask in zip(scored["completion_ids"], scored["completion_mask"], strict=True)
                ]
            )
            return scored

        model.model.visual.register_forward_pre_hook(lambda module, args, patches=patches: patches.append(len(args[0])))
        with monkeypatch.context() as patch:
            patch.setattr(kind, "_generate_and_score_completions", listen)
            train(kind, model, processor, rows, tmp_path / "out", rollout=None, max_steps=1, beta=0.0)
    assert said["GroupedGRPOTrainer"] == said["GRPOTrainer"]
    assert len(said["GRPOTrainer"][0]) == COMPLETIONS
    assert [GROUP * count for count in computed["GroupedGRPOTrainer"]] == computed["GRPOTrainer"]
