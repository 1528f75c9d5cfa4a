"""What tests/training/test_configs.py launches: says what TRL, accelerate and DeepSpeed make of a file in `configs/`."""

import json
import sys
from pathlib import Path
from typing import Any

from accelerate import FullyShardedDataParallelPlugin
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig

from benchmarks.scaling import production
from suasion.params import ROOT, load_params
from suasion.training import grpo
from suasion.vlm.load import load_processor


def built(folder: Path) -> dict[str, Any]:
    """The production profile's options as each process builds them; vLLM needs a GPU."""
    params = load_params(ROOT / "profiles" / "qwen2.5-vl-7b.yaml")
    settings, model = params.train.model_copy(update={"vllm": None}), production()
    options = grpo.config(settings, seed=7, output=folder, processor=load_processor(folder))
    if options.deepspeed_plugin is not None:
        zero = HfTrainerDeepSpeedConfig(options.deepspeed_plugin.hf_ds_config.config)  # as the trainer does
        zero.trainer_config_process(options)
        zero.trainer_config_finalize(options, model, params.train.steps)
        return dict(zero.config)
    plugin = FullyShardedDataParallelPlugin()
    plugin.set_mixed_precision(options.mixed_precision)
    plugin.set_auto_wrap_policy(model)
    return {
        "version": plugin.fsdp_version,
        "layers": plugin.transformer_cls_names_to_wrap,
        "state": plugin.state_dict_type.name,
        "reshard": plugin.reshard_after_forward,
        "checkpointing": plugin.activation_checkpointing,
        "dtype": str(plugin.mixed_precision_policy.param_dtype),
    }


if __name__ == "__main__":
    target = Path(sys.argv[1])
    (target / "built.json").write_text(json.dumps(built(target)))
