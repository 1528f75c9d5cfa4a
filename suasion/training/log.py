"""The training log: one CSV row per logged step, for DVC's plots, and a progress bar while it grows.

The rows live in the trainer's state, so that they are saved in every checkpoint and a resumed run writes the whole log.
"""

import csv
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from suasion.progress import progress


class ShowProgress(TrainerCallback):
    """A progress bar over the optimisation steps that are left, shown by the first process."""

    def __init__(self, label: str) -> None:
        self.label = label
        self._bar: Iterator[int] = iter(())

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if not state.is_world_process_zero:
            return
        left = state.max_steps - state.global_step
        self._bar = iter(progress(range(left), total=left, label=self.label))
        next(self._bar, None)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        next(self._bar, None)


def write_log(history: list[dict[str, float]], path: Path, columns: Mapping[str, str]) -> None:
    """Write the trainer's `log_history` to `path` as CSV.

    `columns` maps a column's name to the trainer's key; `step` is the first column. Rows without any of the keys (the
    closing summary) are left out; a missing value is an empty field. Nothing that depends on the clock is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", *columns])
        for row in history:
            values = [row.get(key) for key in columns.values()]
            if any(value is not None for value in values):
                writer.writerow([row["step"], *(_number(value) for value in values)])


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.6g}"
