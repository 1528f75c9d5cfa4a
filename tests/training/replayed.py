"""What every process of tests/training/test_launch.py runs: GRPO of a tiny model on completions that are always the same.

Sampling differs between processes, so the model's `generate` is replaced: a completion follows from its prompt and its place
in the group. Rewards, advantages, loss, gradients and the optimiser are the real ones, and so is the launcher.
"""

import hashlib
import os
import pickle
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from suasion.errors import SuasionError
from suasion.listener.local import LocalListener
from suasion.params import Train
from suasion.training import grpo
from suasion.training.checkpoints import WHOLE, is_first
from suasion.training.launch import as_process
from suasion.vlm.load import load_model, load_processor, save


def replay(model: Any, input_ids: torch.Tensor, attention_mask: torch.Tensor, **_: Any) -> torch.Tensor:
    """(B, P) prompts, padded on the left -> (B, P + 6): one to six tokens that a hash of prompt and place draws."""
    place: Counter[bytes] = Counter()
    replies = []
    for row, mask in zip(input_ids, attention_mask, strict=True):
        prompt = row[mask.bool()].numpy().tobytes()
        place[prompt] += 1
        digest = hashlib.sha256(prompt + bytes([place[prompt]])).digest()
        end = 1 + digest[0] % 6
        replies.append([30 + byte % 60 for byte in digest[:end]] + [model.generation_config.eos_token_id] * (6 - end))
    return torch.cat([input_ids, torch.tensor(replies)], dim=1)


def letters(completions: list[Any], **_: Any) -> list[float]:
    """A reward that differs within every group."""
    return [sum(map(ord, completion[-1]["content"])) % 97 / 97 for completion in completions]


class Kill(grpo.ShowProgress):
    """Ends the second process without a word in the third step, when the first two are saved."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 3 and not is_first():
            os._exit(9)


def train(folder: Path, run: str) -> None:
    """Train from `folder/start` as `folder/run.pickle` says; the first process writes `folder/run`."""
    rows, values = pickle.loads((folder / f"{run}.pickle").read_bytes())
    settings = Train.model_validate(values)
    if run == "refused" and not is_first():
        raise SuasionError("process 1 does not like it", where="here", do="nothing")
    model, processor = load_model(folder / "start", bf16=settings.bf16).train(), load_processor(folder / "start")
    model.generate = lambda **inputs: replay(model, **inputs)
    grpo.format_reward = letters  # type: ignore[assignment]
    letters.__name__ = "format_reward"
    if run == "killed" and not (folder / "killed.checkpoints").exists():
        grpo.ShowProgress = Kill  # type: ignore[misc]
    listener = LocalListener(load_model(folder / "start", bf16=settings.bf16), processor, batch_size=4)
    checkpoints = folder / f"{run}.checkpoints"
    history = grpo.train_grpo(model, processor, rows, listener, settings, checkpoints=checkpoints, seed=3, label="GRPO")
    if is_first():
        (folder / run).mkdir()
        if not (checkpoints / WHOLE).is_dir():
            save(model, processor, folder / run)
        (folder / run / "history.pickle").write_bytes(pickle.dumps(history))


if __name__ == "__main__":
    as_process(lambda: train(Path(sys.argv[1]), sys.argv[2]))
