"""Stage `train` as two processes, through the real DVC: killed once in the middle, and run again."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from suasion.stage import PARENT
from suasion.vlm.load import load_model
from tests.pipeline.test_pipeline import wait_for_checkpoint
from tests.workspace import clone, dvc, micro, run

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]


def processes(workspace: Path) -> list[int]:
    """Those that a stage of `workspace` has started."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{PARENT}=".encode() in (folder / "environ").read_bytes() and (folder / "cwd").resolve() == workspace:
                found.append(int(folder.name))
        except OSError:  # it has ended, or is somebody else's
            continue
    return found


def test_training_as_two_processes(tmp_path: Path) -> None:
    params = (
        micro()
        .replace("  launch: null", "  launch: {processes: 2, config: ddp.yaml}")
        .replace("  steps: 6\n", "  steps: 12\n")
    )
    workspace = clone(tmp_path, params.replace("micro_batch: 4", "micro_batch: 3"))
    run(workspace, "repro", "prescore", "warmstart")
    refused = dvc(workspace, "repro", "train")
    output, _ = refused.communicate()
    assert refused.returncode != 0
    assert output.count("error: train.micro_batch = 3 does not divide 2 completions") == 1
    assert "Traceback" not in output

    (workspace / "params.yaml").write_text(params.replace("micro_batch: 4", "micro_batch: 2"))
    killed = dvc(workspace, "repro", "train")
    wait_for_checkpoint(workspace)
    assert len(processes(workspace)) >= 2
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    deadline = time.monotonic() + 10
    while processes(workspace):
        assert time.monotonic() < deadline, "processes go on without their stage"
        time.sleep(0.1)

    output = run(workspace, "repro", "train")
    assert len(re.findall(r"GRPO: resuming from checkpoint-\d+", output)) == 1, output
    assert "Warning" not in output
    train = workspace / "data" / "train"
    assert sorted(path.name for path in train.iterdir()) == ["log.csv", "reasoner", "summary.json"]
    assert len((train / "log.csv").read_text().splitlines()) == 13
    assert json.loads((train / "summary.json").read_text())["steps"] == 12
    load_model(train / "reasoner")
