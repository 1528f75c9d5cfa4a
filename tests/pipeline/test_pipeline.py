"""Whole runs through the real DVC in a clone of the project, on a world too small to learn anything."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import yaml

from suasion.params import ROOT, data_folder
from suasion.summary import say
from tests.workspace import clone, dvc, micro, run

pytestmark = pytest.mark.timeout(600)


def wait_for_checkpoint(workspace: Path) -> None:
    deadline = time.monotonic() + 300
    while not list(workspace.glob(".checkpoints/train/grpo/*/checkpoint-*/COMPLETE")):
        assert time.monotonic() < deadline, "no checkpoint came"
        time.sleep(0.01)


def test_votes_to_a_release_killed_once_in_the_middle(tmp_path: Path) -> None:
    params = micro().replace("  steps: 6\n  prompts_per_step", "  steps: 12\n  prompts_per_step")
    params = params.replace("  ties: drop", "  ties: keep").replace(
        "no_difference_share: 0.05", "no_difference_share: 0.3"
    )
    workspace = clone(tmp_path, params)
    run(workspace, "repro", "prescore", "warmstart")
    pairs = pl.read_parquet(workspace / "data" / "filter" / "pairs.parquet")
    assert pairs.filter(split="train", label="tie").height > 3, "training knows ties"

    killed = dvc(workspace, "repro", "train")
    wait_for_checkpoint(workspace)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (workspace / "data" / "train").exists(), "nothing is published before it is whole"

    output = run(workspace, "repro")
    assert re.search(r"GRPO: resuming from checkpoint-\d+", output), output
    metrics = json.loads((workspace / "metrics.json").read_text())
    for model in ("warmstart", "released"):
        for split in ("val", "test", "ood"):
            assert set(metrics[model][split]["accuracy"]) == {"value", "low", "high", "n"}
            assert metrics[model][split]["accuracy"]["n"] > 0
    assert "test pairs" in say(metrics["released"]["test"]["accuracy"])
    assert "<article" in (workspace / "report" / "index.html").read_text()
    assert (workspace / "release" / "model.safetensors").is_file()
    assert len((workspace / "data" / "train" / "log.csv").read_text().splitlines()) == 13
    assert not list(workspace.rglob(".*.tmp"))

    assert "up to date" in run(workspace, "repro")
    assert "released.test.accuracy.value" in run(workspace, "metrics", "show")
    run(workspace, "plots", "show")
    assert (workspace / "dvc_plots" / "index.html").is_file()
    assert "pushed" in run(workspace, "push")
    checked = subprocess.run(
        [sys.executable, "-m", "stages.check_lock"], cwd=workspace, text=True, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    (workspace / "suasion" / "votes" / "splits.py").write_text("# changed\n")
    changed = workspace / "params.yaml"
    changed.write_text(changed.read_text().replace("resamples: 200", "resamples: 201"))
    checked = subprocess.run(
        [sys.executable, "-m", "stages.check_lock"], cwd=workspace, text=True, capture_output=True, check=False
    )
    assert checked.returncode == 1
    assert "filter: suasion/votes/splits.py changed" in checked.stderr
    assert "measure: parameter measure.resamples changed" in checked.stderr
    assert "train:" not in checked.stderr


def test_a_mistake_stops_the_run_with_one_message_and_keeps_what_was_there(tmp_path: Path) -> None:
    workspace = clone(tmp_path, micro())
    run(workspace, "repro", "filter")
    kept = (workspace / "data" / "filter" / "pairs.parquet").read_bytes()
    (workspace / "params.yaml").write_text(micro().replace("min_votes: 3", "min_votes: 99"))
    process = dvc(workspace, "repro", "filter")
    output, _ = process.communicate()
    assert process.returncode != 0
    assert "error: no pair is left; dropped:" in output or "no training pair is left" in output
    assert "dvc checkout" in output
    assert "Traceback" not in output
    (workspace / "params.yaml").write_text(micro())
    run(workspace, "checkout", "data/filter")  # alone: the stages after it have never run here
    assert (workspace / "data" / "filter" / "pairs.parquet").read_bytes() == kept


def test_real_votes_go_through_to_shards(tmp_path: Path) -> None:
    params = yaml.safe_load((ROOT / "profiles" / "avt.yaml").read_text())
    if not (data_folder() / params["ingest"]["sources"][0]["path"]).is_dir():
        pytest.skip("needs the AVT AI images in SUASION_DATA (docs/data.md)")
    params["base"] = yaml.safe_load(micro())["base"]  # of which the filter needs the processor alone
    workspace = clone(tmp_path, yaml.safe_dump(params))
    os.environ["SUASION_DATA"] = str(data_folder())
    run(workspace, "repro", "shard")
    summary = json.loads((workspace / "data" / "filter" / "summary.json").read_text())
    assert summary["votes_in"] == 12590
    assert summary["voters"] == 53
    assert summary["pairs_in"] == 266
    assert summary["splits"]["test"] == 90, "nine of 27 prompts"
