"""Several processes (gloo) through the real launcher: the same training as one, and one error where one of them fails."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from suasion.errors import SuasionError
from suasion.params import Launch, Lora
from suasion.training.checkpoints import MARKER, WHOLE, load_gathered
from suasion.training.launch import launch
from suasion.training.rows import Row
from suasion.vlm.load import load_model, save
from tests.training.test_grpo import rows, settings  # noqa: F401  (a fixture)

TWO = Launch(processes=2, config="ddp.yaml")


@pytest.fixture
def start(tmp_path: Path, rows: list[Row], processor: Any, tiny_model: Callable[..., Any]) -> Callable[..., Any]:  # noqa: F811
    """Trains in processes by `launch`; returns the model and the log."""
    save(tiny_model(0), processor, tmp_path / "start")

    def run(name: str, **changes: Any) -> tuple[Any, list[dict[str, float]]]:
        values = settings(**({"launch": TWO} | changes)).model_dump()
        (tmp_path / f"{name}.pickle").write_bytes(pickle.dumps((rows, values)))
        processes = changes.get("launch", TWO)
        module = "replayed" if processes.config == "ddp.yaml" else "sharded"
        launch(processes, f"tests.training.{module}", str(tmp_path), name)
        whole, bf16 = tmp_path / f"{name}.checkpoints" / WHOLE, changes.get("bf16", False)
        if whole.is_dir():
            model = load_gathered(whole, load_model(tmp_path / "start", bf16=bf16))
        else:
            model = load_model(tmp_path / name, bf16=bf16)
        return model, pickle.loads((tmp_path / name / "history.pickle").read_bytes())

    return run


def distance(one: Any, two: Any) -> float:
    """Euclidean, over all weights."""
    pairs = zip(one.parameters(), two.parameters(), strict=True)
    return float(sum(((weight - other) ** 2).sum() for weight, other in pairs) ** 0.5)


def test_two_processes_are_one_process_with_the_same_batch(
    start: Callable[..., Any], tmp_path: Path, tiny_model: Callable[..., Any]
) -> None:
    """Up to the order of sums: after four steps of AdamW, which blows up what is rounded in gradients near zero."""
    same = {"prompts_per_step": 4, "micro_batch": 2, "kl": 0.0}
    one, log_of_one = start("one", launch=Launch(processes=1, config="ddp.yaml"), **same)
    two, log_of_two = start("two", **same)
    assert distance(one, two) < 1e-4 * distance(one, tiny_model(0))
    for key in ("reward", "grad_norm", "completions/mean_length", "entropy"):
        assert [row[key] for row in log_of_one[:-1]] == pytest.approx([row[key] for row in log_of_two[:-1]], rel=1e-5)
    assert len({row["completions/mean_length"] for row in log_of_one[:-1]}) > 1, "completions of unequal length"


@pytest.mark.slow
def test_a_process_that_ends_is_one_error_and_the_run_goes_on_from_what_all_have_saved(
    start: Callable[..., Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, _ = start("two", kl=0.0, micro_batch=2)
    with pytest.raises(SuasionError, match="process 1 ended with exit code 9"):
        start("killed", kl=0.0, micro_batch=2)
    assert not (tmp_path / "killed").exists()
    assert sorted(path.parent.name for path in tmp_path.glob("killed.checkpoints/*/COMPLETE")) == [
        "checkpoint-1",
        "checkpoint-2",
    ]
    capfd.readouterr()
    resumed, _ = start("killed", kl=0.0, micro_batch=2)
    assert capfd.readouterr().out.count("resuming from checkpoint-2") == 1, "the first process says it"
    for weight, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(weight, other)


ADAPTERS = Lora(rank=4, alpha=8, target=".*language_model.*(q_proj|up_proj)")


@pytest.mark.slow
@pytest.mark.parametrize("lora", [None, ADAPTERS], ids=["whole", "adapters"])
def test_parts_of_the_model_train_as_the_whole(
    start: Callable[..., Any], tiny_model: Callable[..., Any], tmp_path: Path, lora: Lora | None
) -> None:
    """The production profile's FSDP2, killed and run again, against one process."""
    same = {"micro_batch": 2, "kl": 0.0, "lora": lora}
    parts = Launch(processes=2, config="fsdp2-8xh100.yaml")
    one, _ = start("one", launch=Launch(processes=1, config="ddp.yaml"), **same)
    with pytest.raises(SuasionError, match="process 1 ended with exit code 9"):
        start("killed", launch=parts, **same)
    assert (tmp_path / "killed.checkpoints" / "checkpoint-2" / MARKER).is_file()
    two, _ = start("killed", launch=parts, **same)
    assert distance(one, two) < 1e-4 * distance(one, tiny_model(0))


@pytest.mark.slow
def test_the_production_profiles_precision_and_checkpointing_go_with_parts(start: Callable[..., Any]) -> None:
    """bf16 weights, adapters in float32, gradient checkpointing: it trains, and what is put together is bf16."""
    parts = Launch(processes=2, config="fsdp2-8xh100.yaml")
    same = {"micro_batch": 2, "kl": 0.0, "lora": ADAPTERS, "bf16": True, "gradient_checkpointing": True}
    two, log = start("two", launch=parts, **same)
    assert {weight.dtype for weight in two.parameters()} == {torch.bfloat16}
    assert all(row["grad_norm"] > 0 for row in log[:-1])


def test_what_a_process_reports_is_the_error_of_the_run(
    start: Callable[..., Any], capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SuasionError, match="process 1 does not like it") as caught:
        start("refused", micro_batch=2)
    assert (caught.value.where, caught.value.do) == ("here", "nothing")
    assert "Traceback" not in capfd.readouterr().err


def test_a_configuration_that_is_not_there_is_an_error() -> None:
    with pytest.raises(SuasionError, match="no file moon.yaml in configs/") as caught:
        launch(Launch(processes=2, config="moon.yaml"), "tests.training.replayed")
    assert "ddp.yaml, fsdp2-8xh100.yaml, zero3-8xh100.yaml" in caught.value.do
