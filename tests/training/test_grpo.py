"""GRPO through the real trainer of TRL, on a random model of the production architecture."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from suasion.errors import SuasionError
from suasion.listener.local import LocalListener
from suasion.params import ROOT, Launch, RewardWeights, Train, VllmColocate, VllmServer, load_params
from suasion.training import grpo
from suasion.training.rows import Row
from suasion.vlm.inputs import image_tokens
from suasion.vlm.load import load_model, load_processor, save
from suasion.world.lessons import contrast
from suasion.world.scenes import draw, encode


@pytest.fixture
def rows() -> list[Row]:
    rng = np.random.default_rng(0)
    made = []
    for index in range(6):
        prompt, scenes, answer = contrast(rng)
        first, second = (encode(draw(scene, rng, size=32)) for scene in scenes)
        made.append(Row(str(index), str(prompt), first, second, answer, 0.5))
    return made


def settings(**changes: Any) -> Train:
    values: dict[str, Any] = {
        "steps": 4,
        "prompts_per_step": 2,
        "generations": 2,
        "micro_batch": 4,
        "max_completion_tokens": 6,
        "temperature": 1.0,
        "learning_rate": 1e-3,
        "kl": 0.1,
        "loss": "dapo",
        "rewards": RewardWeights(format=1.0, accuracy=0.5, listener=0.5),
        "checkpoint_every": 1,
        "lora": None,
        "bf16": False,
        "gradient_checkpointing": False,
        "grouped": True,
        "vllm": None,
        "launch": None,
        "sft_baseline": False,
    }
    return Train(**(values | changes))


@pytest.fixture(autouse=True)
def noisy_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    """A random model earns no reward, so nothing would move it: let it earn for the letters that it writes."""

    def format_reward(completions: list[Any], **_: Any) -> list[float]:
        return [sum(map(ord, completion[-1]["content"])) % 97 / 97 for completion in completions]

    monkeypatch.setattr(grpo, "format_reward", format_reward)


def run(tmp_path: Path, rows: list[Row], processor: Any, tiny_model: Callable[..., Any], **changes: Any) -> Any:
    start = tmp_path.parent / "start"
    save(tiny_model(0), processor, start)  # TRL loads the reference model of the KL term from where the model came from
    model = load_model(start).train()
    listener = LocalListener(tiny_model(1), processor, batch_size=8)
    history = grpo.train_grpo(
        model, processor, rows, listener, settings(**changes), checkpoints=tmp_path, seed=3, label="test"
    )
    return model, history


class Interrupted(Exception):
    pass


class InterruptAfter(TrainerCallback):
    step = 2

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == self.step + 1:
            raise Interrupted


@pytest.mark.parametrize("accumulated", [1, 2])
def test_resuming_gives_bitwise_the_same_weights(
    tmp_path: Path,
    rows: list[Row],
    processor: Any,
    tiny_model: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    accumulated: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    micro = {"micro_batch": 4 // accumulated}
    whole, history = run(tmp_path / "whole", rows, processor, tiny_model, **micro)

    class ShowAndInterrupt(InterruptAfter):
        def __init__(self, _: str) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr(grpo, "ShowProgress", ShowAndInterrupt)
        with pytest.raises(Interrupted):
            run(tmp_path / "killed", rows, processor, tiny_model, **micro)
    resumed, resumed_history = run(tmp_path / "killed", rows, processor, tiny_model, **micro)
    assert "resuming from checkpoint-2" in capsys.readouterr().out
    for (name, weight), other in zip(whole.named_parameters(), resumed.parameters(), strict=True):
        assert torch.equal(weight, other), name
    keys = grpo.LOG_COLUMNS.values()
    assert [{key: row.get(key) for key in keys} for row in history[:-1]] == [
        {key: row.get(key) for key in keys} for row in resumed_history[:-1]
    ]


def test_training_moves_the_weights_and_logs_every_term(
    tmp_path: Path, rows: list[Row], processor: Any, tiny_model: Callable[..., Any]
) -> None:
    model, history = run(tmp_path, rows, processor, tiny_model)
    start = tiny_model(0)
    moved = [
        not torch.equal(weight, other) for weight, other in zip(model.parameters(), start.parameters(), strict=True)
    ]
    assert sum(moved) > len(moved) / 2
    logged = {key for row in history for key in row}
    # A random model writes no completion that parses, so the listener has nothing to report.
    assert set(grpo.LOG_COLUMNS.values()) - logged <= {"listener_gain", "contradiction"}


def test_completions_hold_no_image_token(
    tmp_path: Path, rows: list[Row], processor: Any, tiny_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The output head is bent so that image tokens would be all that is ever sampled."""
    forbidden = image_tokens(processor)
    assert len(forbidden) >= 3
    seen: list[int] = []

    def watch(completions: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float]:
        seen.extend(token for row in completion_ids for token in row)
        return [0.0] * len(completions)

    monkeypatch.setattr(grpo, "format_reward", watch)
    model = tiny_model(0)
    with torch.no_grad():
        model.lm_head.weight[forbidden] = 50.0 * model.lm_head.weight.mean(dim=0).sign()
    listener = LocalListener(tiny_model(1), processor, batch_size=8)
    grpo.train_grpo(
        model.train(), processor, rows, listener, settings(steps=1, kl=0.0), checkpoints=tmp_path, seed=3, label="test"
    )
    assert seen
    assert not set(seen) & set(forbidden)


def test_a_micro_batch_that_does_not_divide_is_an_error(tmp_path: Path, processor: Any) -> None:
    with pytest.raises(SuasionError, match="train.micro_batch = 3 does not divide 4"):
        grpo.config(settings(micro_batch=3), seed=0, output=tmp_path, processor=processor)


def test_processes_take_whole_groups_and_share_the_batch(tmp_path: Path, processor: Any) -> None:
    def built(**changes: Any) -> Any:
        values = {"prompts_per_step": 16, "generations": 8, "micro_batch": 8} | changes
        return grpo.config(settings(**values), seed=0, output=tmp_path, processor=processor)

    assert built().gradient_accumulation_steps == 16
    eight = Launch(processes=8, config="ddp.yaml")
    assert built(launch=eight).gradient_accumulation_steps == 2
    with pytest.raises(SuasionError, match="train.prompts_per_step = 12 is no multiple of 8 processes"):
        built(launch=eight, prompts_per_step=12)
    with pytest.raises(SuasionError, match="train.micro_batch = 32 does not divide 16 completions"):
        built(launch=eight, micro_batch=32)


def test_vllm_generates_beside_training_or_on_a_server(tmp_path: Path, processor: Any) -> None:
    def built(vllm: Any, **changes: Any) -> Any:
        return grpo.config(settings(vllm=vllm, **changes), seed=0, output=tmp_path, processor=processor)

    server = built(VllmServer(mode="server", base_url="http://rollouts:8000", timeout=600.0))
    assert server.use_vllm
    assert (server.vllm_mode, server.vllm_server_base_url) == ("server", "http://rollouts:8000")
    assert server.vllm_server_timeout == 600.0
    beside = VllmColocate(mode="colocate", gpu_memory_utilization=0.3, tensor_parallel_size=2)
    two = Launch(processes=2, config="ddp.yaml")
    colocate = built(beside, launch=two, micro_batch=2)
    assert (colocate.vllm_mode, colocate.vllm_gpu_memory_utilization) == ("colocate", 0.3)
    assert colocate.vllm_tensor_parallel_size == 2
    # vLLM knows no suppress_tokens.
    assert colocate.generation_kwargs == {"logit_bias": dict.fromkeys(image_tokens(processor), -100.0)}
    with pytest.raises(SuasionError, match="train.vllm.tensor_parallel_size = 2 does not divide 1 processes"):
        built(beside)


@pytest.mark.parametrize(("grouped", "images"), [(False, 2 * 4), (True, 2 * 2)])
def test_both_images_of_every_row_reach_the_model(
    tmp_path: Path, rows: list[Row], processor: Any, tiny_model: Callable[..., Any], grouped: bool, images: int
) -> None:
    """Multi-image prompts need TRL's `images` column: count the images that go through the vision tower."""
    model = tiny_model(0).train()
    counts: list[int] = []
    model.model.visual.register_forward_pre_hook(
        lambda module, args, kwargs: counts.append(len(kwargs.get("grid_thw", args[-1]))), with_kwargs=True
    )
    listener = LocalListener(tiny_model(1), processor, batch_size=8)
    changes = settings(steps=1, kl=0.0, grouped=grouped)
    grpo.train_grpo(model, processor, rows, listener, changes, checkpoints=tmp_path, seed=3, label="test")
    assert counts
    assert set(counts) == {images}


@pytest.mark.parametrize("grouped", [False, True])
def test_image_tokens_are_marked_where_they_are(
    tmp_path: Path, rows: list[Row], processor: Any, tiny_model: Callable[..., Any], grouped: bool
) -> None:
    """Prompts of unequal length, and a processor that pads on the right, as Qwen2.5-VL's own does."""
    save(tiny_model(0), processor, tmp_path / "start")
    loaded = load_processor(tmp_path / "start")
    loaded.tokenizer.padding_side = "right"
    model = load_model(tmp_path / "start").train()
    padded: list[bool] = []

    place = model.model.get_rope_index

    def check(input_ids: Any, mm_token_type_ids: Any = None, **rest: Any) -> Any:
        assert torch.equal(mm_token_type_ids == 1, input_ids == loaded.image_token_id)
        padded.append(bool((input_ids[:, 0] == loaded.tokenizer.pad_token_id).any()))
        return place(input_ids, mm_token_type_ids=mm_token_type_ids, **rest)

    model.model.get_rope_index = check
    listener = LocalListener(tiny_model(1), processor, batch_size=8)
    changes = settings(steps=2, kl=0.0, prompts_per_step=4, micro_batch=8, grouped=grouped)
    grpo.train_grpo(model, loaded, rows, listener, changes, checkpoints=tmp_path / "run", seed=3, label="test")
    assert any(padded), "the rows must have unequal lengths for this test to mean anything"


def test_the_production_profile_takes_a_step_at_small_size(
    tmp_path: Path, rows: list[Row], processor: Any, tiny_model: Callable[..., Any]
) -> None:
    """LoRA, bf16, gradient checkpointing and the loss are the profile's own; sizes are not, and vLLM needs a GPU."""
    profile = load_params(ROOT / "profiles" / "qwen2.5-vl-7b.yaml").train
    small = {"steps": 1, "prompts_per_step": 2, "generations": 2, "micro_batch": 2, "max_completion_tokens": 6}
    save(tiny_model(0), processor, tmp_path / "start")
    before = load_model(tmp_path / "start", bf16=True)
    model = load_model(tmp_path / "start", bf16=True).train()
    listener = LocalListener(tiny_model(1), processor, batch_size=8)
    one_step = profile.model_copy(update=small | {"vllm": None, "launch": None, "learning_rate": 0.1})
    grpo.train_grpo(model, processor, rows, listener, one_step, checkpoints=tmp_path / "run", seed=3, label="test")
    save(model, processor, tmp_path / "trained")
    trained = load_model(tmp_path / "trained", bf16=True)
    assert not [name for name, _ in trained.named_parameters() if "lora" in name]
    moved = {
        name
        for (name, weight), other in zip(before.named_parameters(), trained.parameters(), strict=True)
        if not torch.equal(weight, other)
    }
    assert moved, "the adapters are merged into what is saved"
    assert all("language_model" in name for name in moved), "the profile leaves the vision tower as it is"
