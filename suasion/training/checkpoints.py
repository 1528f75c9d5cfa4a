"""Checkpoints that are complete or absent, in a folder keyed by what they were trained from.

transformers writes into `checkpoint-N` directly and resumes from the highest number without looking. Here a marker is
written last, after everything else is on the disk; a folder without it is deleted, and the one before it is used.
DVC deletes a stage's outputs before it runs the stage, so checkpoints live outside of them, in `.checkpoints/`.

Of several processes, each writes its own part of a checkpoint; the first one marks it once all have, and is the only one that
deletes.
"""

import os
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel, TrainerCallback

MARKER = "COMPLETE"
WHOLE = "whole"
"""Below a folder of checkpoints: what was trained in parts, put together."""


def is_first() -> bool:
    """Whether this is the first of the processes that train together, or the only one; the launcher says which it is."""
    return os.environ.get("RANK", "0") == "0"


def wait_for_all() -> None:
    """Wait until all processes that train together are here."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


def last_complete(folder: Path) -> Path | None:
    """The complete checkpoint with the most steps in `folder`; incomplete ones are deleted."""
    if is_first():
        for path in folder.glob("checkpoint-*"):
            if not (path / MARKER).is_file():
                shutil.rmtree(path)
    wait_for_all()
    complete = {int(path.name.rpartition("-")[2]): path for path in folder.glob("checkpoint-*")}
    return complete[max(complete)] if complete else None


class MarkComplete(TrainerCallback):
    """Marks each checkpoint once it is on the disk, then deletes those before the last two complete ones."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        wait_for_all()
        if not is_first():
            return
        folder = Path(args.output_dir)
        path = folder / f"checkpoint-{state.global_step}"
        for file in [*path.rglob("*"), path]:
            _fsync(file)
        (path / MARKER).write_text(f"{state.global_step}\n")
        _fsync(path / MARKER)
        _fsync(path)
        done = sorted(folder.glob(f"checkpoint-*/{MARKER}"), key=lambda marker: int(marker.parent.name.split("-")[1]))
        for marker in done[:-2]:
            shutil.rmtree(marker.parent)


class ResumesWeights:
    """Mixin before a transformers `Trainer`: the weights of a checkpoint are loaded as `from_pretrained` loads them.

    Qwen2.5-VL is saved under other key names than it has in memory. The trainer loads the file's keys as they are, finds
    none of its own, warns, and goes on from the weights it was built with (transformers 5.23).
    """

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        model = model if model is not None else self.model  # type: ignore[attr-defined]  # the trainer's
        in_parts = self.is_fsdp_enabled  # type: ignore[attr-defined]  # saved under the names in memory
        if in_parts or not isinstance(model, PreTrainedModel):  # and so are adapters
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]  # the trainer's
            return
        saved = type(model).from_pretrained(resume_from_checkpoint, dtype=model.dtype, local_files_only=True)
        model.load_state_dict(saved.state_dict())


def gather(trainer: Any, folder: Path) -> None:
    """Put the parts of `trainer`'s model together and write them to `folder`, as transformers or peft read them."""
    trainer.save_model(str(folder))
    wait_for_all()


def load_gathered(folder: Path, start: Any) -> Any:
    """The whole model of what `gather` has written; adapters are merged into `start`, from which they were trained."""
    if (folder / "adapter_config.json").is_file():
        from peft import PeftModel

        return PeftModel.from_pretrained(start, folder).merge_and_unload()
    return type(start).from_pretrained(folder, dtype=start.dtype, local_files_only=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
