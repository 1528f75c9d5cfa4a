"""Checkpoints that are complete or absent, in a folder keyed by what they were trained from.

transformers writes into `checkpoint-N` directly and resumes from the highest number without looking. Here a marker is
written last, after everything else is on the disk; a folder without it is deleted, and the one before it is used.
DVC deletes a stage's outputs before it runs the stage, so checkpoints live outside of them, in `.checkpoints/`.
"""

import os
import shutil
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, TrainerCallback

MARKER = "COMPLETE"


def last_complete(folder: Path) -> Path | None:
    """The complete checkpoint with the most steps in `folder`; incomplete ones are deleted."""
    complete: list[tuple[int, Path]] = []
    for path in folder.glob("checkpoint-*"):
        if (path / MARKER).is_file():
            complete.append((int(path.name.rpartition("-")[2]), path))
        else:
            shutil.rmtree(path)
    return max(complete)[1] if complete else None


class MarkComplete(TrainerCallback):
    """Marks each checkpoint once it is on the disk, then deletes those before the last two complete ones."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
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
        if not isinstance(model, PreTrainedModel):  # adapters are saved under their own names
            super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]  # the trainer's
            return
        saved = type(model).from_pretrained(resume_from_checkpoint, dtype=model.dtype, local_files_only=True)
        model.load_state_dict(saved.state_dict())


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
