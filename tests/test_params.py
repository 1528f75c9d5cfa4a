from pathlib import Path
from typing import Any

import pytest
import yaml

from suasion.errors import SuasionError
from suasion.params import ROOT, load_params

PROFILES = sorted(ROOT.glob("profiles/*.yaml"))


@pytest.mark.parametrize("path", [*PROFILES, ROOT / "params.yaml", ROOT / "tests" / "micro.yaml"], ids=lambda p: p.stem)
def test_every_parameter_file_parses_and_names_itself(path: Path) -> None:
    params = load_params(path)
    assert params.profile == path.stem or path.name == "params.yaml"


def write(tmp_path: Path, change: Any) -> Path:
    content = yaml.safe_load((ROOT / "profiles" / "world.yaml").read_text())
    change(content)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["train"].update(stepz=3), r"unknown key train.stepz = 3"),
        (lambda c: c["train"].update(steps="many"), r"train.steps = 'many' is not allowed"),
        (lambda c: c["train"].update(steps=-1), r"train.steps = -1 is not allowed: .*greater than or equal to 0"),
        (lambda c: c["train"].pop("steps"), r"key train.steps is missing"),
        (lambda c: c.pop("filter"), r"key filter is missing"),
        (
            lambda c: c["ingest"].update(sources=[{"name": "moon"}]),
            r"ingest.sources.0.name = 'moon' .*: a source is one of world",
        ),
        (lambda c: c["ingest"]["sources"][0].update(voters=0), r"ingest.sources.0.voters = 0 is not allowed"),
        (lambda c: c["ingest"]["sources"].append(c["ingest"]["sources"][0]), r"two sources are called world"),
        (lambda c: c["ingest"].update(sources=[]), r"ingest.sources = \[\] is not allowed"),
        (lambda c: c["train"].update(loss="best"), r"train.loss = 'best' is not allowed"),
        (
            lambda c: c["train"].update(launch={"processes": 0, "config": "ddp.yaml"}),
            r"train.launch.processes = 0 is not",
        ),
        (
            lambda c: c["train"].update(launch={"processes": 2, "config": "../x.yaml"}),
            r"train.launch.config = '../x.yaml'",
        ),
        (lambda c: c["train"].update(vllm={"mode": "server"}), r"key train.vllm.server.base_url is missing"),
        (lambda c: c["validate"].update(max_tie_rate=2.0), r"validate.max_tie_rate = 2.0 is not allowed"),
    ],
)
def test_a_wrong_key_is_named_with_its_value(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(SuasionError, match=message) as caught:
        load_params(write(tmp_path, change))
    assert "params.yaml" in caught.value.where


SOURCE = {"name": "avt", "path": "x", "snapshot": "0" * 64}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["shard"].update(location="s3://KEY:hush@bucket/x"), "shard.location is a URL with credentials"),
        (lambda c: c["shard"].update(location="s3://KEY:hu/hush@bucket/x"), "shard.location is a URL with credentials"),
        (
            lambda c: c["ingest"]["sources"].append(SOURCE | {"path": "s3://KEY:hush@b/x"}),
            "ingest.sources.1.path is a URL",
        ),
        (
            lambda c: c["ingest"]["sources"].append(SOURCE | {"path": "s3://b/x?X-Amz-Signature=hush"}),
            "ingest.sources.1.path is a URL",
        ),
        (
            lambda c: c["shard"].update(aws_secret_access_key="hush"),
            "unknown key shard.aws_secret_access_key, which looks",
        ),
        (
            lambda c: c["ingest"]["sources"].append(SOURCE | {"token": "hush"}),
            "unknown key ingest.sources.1.token, which",
        ),
        (lambda c: c["shard"].update(storage={"user": "hush"}), "unknown key shard.storage = a mapping of 1"),
        (lambda c: c["shard"].update(location={"secret": "hush"}), "shard.location = a mapping of 1 is not allowed"),
        (lambda c: c.update(AWS_SESSION_TOKEN="hush"), "unknown key AWS_SESSION_TOKEN, which looks like credentials"),
    ],
)
def test_credentials_are_refused_and_not_said_again(tmp_path: Path, change: Any, message: str) -> None:
    with pytest.raises(SuasionError, match=message) as caught:
        load_params(write(tmp_path, change))
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("line", ["secret_key: [hush", "secret_key: hush: x", "secret_key: *hush", "hush: 1\nhush: 2"])
def test_what_is_no_yaml_is_not_said_again(tmp_path: Path, line: str) -> None:
    (tmp_path / "bad.yaml").write_text(f"profile: x\n{line}\n")
    with pytest.raises(SuasionError, match=r"not YAML: line \d, column \d+: ") as caught:
        load_params(tmp_path / "bad.yaml")
    assert "hush" not in str(caught.value)


def test_no_file_and_no_yaml_are_clear_errors(tmp_path: Path) -> None:
    with pytest.raises(SuasionError, match=r"no parameter file gone\.yaml"):
        load_params(tmp_path / "gone.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(SuasionError, match="not YAML"):
        load_params(tmp_path / "bad.yaml")


@pytest.mark.parametrize("path", PROFILES, ids=lambda p: p.stem)
def test_every_profile_builds_by_the_production_code(path: Path, tmp_path: Path) -> None:
    """Its model on the meta device, its GRPO options by TRL; of a hub model only the size is not its own."""
    import torch
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    from suasion.params import TinyModel
    from suasion.training.grpo import config
    from suasion.world.lessons import corpus
    from suasion.world.tiny import build_model, build_processor

    params = load_params(path)
    base = params.base.reasoner
    processor = build_processor(corpus(0, lines=100), image_size=32, vocab_size=400)
    with torch.device("meta"):
        if isinstance(base, TinyModel):
            sizes = base.model_dump(include={"hidden", "layers", "vision_hidden", "vision_depth"})
            model = build_model(processor, seed=0, **sizes)
        else:
            model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig())
    assert sum(weight.numel() for weight in model.parameters()) > 1e6
    if params.train.lora is not None:
        from peft import LoraConfig, get_peft_model

        lora = params.train.lora
        adapted = get_peft_model(model, LoraConfig(r=lora.rank, target_modules=lora.target))
        assert any("lora" in name for name, _ in adapted.named_parameters())
    # A machine without a GPU cannot hold bf16 training or vLLM; everything else is the profile's own.
    settings = params.train.model_copy(update={"bf16": False, "vllm": None})
    options = config(settings, seed=params.seed, output=tmp_path, processor=processor)
    assert options.num_generations == params.train.generations
    processes = params.train.launch.processes if params.train.launch else 1
    assert options.generation_batch_size * processes == params.train.prompts_per_step * params.train.generations
