"""`configs/`: built by the launcher and the trainer's own options without a GPU. test_launch.py trains by FSDP2."""

import json
from pathlib import Path
from typing import Any

from suasion.params import ROOT, Launch, load_params
from suasion.training.launch import CONFIGS, launch

TRAIN = load_params(ROOT / "profiles" / "qwen2.5-vl-7b.yaml").train


def build(name: str, folder: Path, processor: Any) -> dict[str, Any]:
    """What a process that was launched by `configs/NAME` says."""
    processor.save_pretrained(folder)
    launch(Launch(processes=1, config=name), "tests.training.built", str(folder))
    said: dict[str, Any] = json.loads((folder / "built.json").read_text())
    return said


def test_the_production_profile_names_a_file_that_is_there() -> None:
    assert TRAIN.launch is not None
    assert TRAIN.launch.processes == 8
    assert (CONFIGS / TRAIN.launch.config).is_file()


def test_fsdp2(tmp_path: Path, processor: Any) -> None:
    """The layers that it cuts are found in the real 7B, and what is saved can be put together."""
    assert build("fsdp2-8xh100.yaml", tmp_path, processor) == {
        "version": 2,
        "layers": ["Qwen2_5_VLDecoderLayer", "Qwen2_5_VLVisionBlock"],
        "state": "FULL_STATE_DICT",
        "reshard": True,
        "checkpointing": False,
        "dtype": "torch.bfloat16",
    }


def test_zero3(tmp_path: Path, processor: Any) -> None:
    """What is `auto` in the file comes from params.yaml and from the model."""
    zero = build("zero3-8xh100.yaml", tmp_path, processor)
    assert "auto" not in json.dumps(zero)
    assert zero["zero_optimization"]["stage"] == 3
    assert zero["zero_optimization"]["stage3_gather_16bit_weights_on_model_save"]
    assert zero["zero_optimization"]["reduce_bucket_size"] == 3584**2
    assert zero["bf16"]["enabled"] == TRAIN.bf16
    assert zero["train_micro_batch_size_per_gpu"] == TRAIN.micro_batch
    assert zero["gradient_accumulation_steps"] == TRAIN.prompts_per_step * TRAIN.generations // 8 // TRAIN.micro_batch
