"""tests/training/replayed.py for processes that hold parts of the model, which accelerate keeps for GPUs.

Two things of accelerate's stand in the way on CPUs, and are replaced: what it calls processes there, and their device. What is
cut, trained, saved, resumed and put together is FSDP2, by the file in `configs/`.
"""

import sys
from pathlib import Path

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType

from suasion.training.launch import as_process
from tests.training.replayed import train


def sharded() -> None:
    """Train by FSDP2 over gloo."""
    PartialState._prepare_backend = lambda *_, **__: ("gloo", DistributedType.MULTI_GPU)
    PartialState.set_device = lambda state: setattr(state, "device", torch.device("cpu"))
    torch.distributed.init_process_group("gloo")
    train(Path(sys.argv[1]), sys.argv[2])


if __name__ == "__main__":
    as_process(sharded)
