"""The flow on a real embedded Prefect server, over a real DVC pipeline of three small stages."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from botocore import exceptions
from botocore.exceptions import ClientError

from flows.pipeline import may_pass, metrics_table, stage_names
from suasion.params import ROOT
from suasion.s3 import errors

PIPELINE = """
stages:
  one:
    cmd: python one.py
    outs: [one.txt]
  flaky:
    cmd: python flaky.py
    deps: [one.txt]
    outs: [flaky.txt]
  last:
    cmd: python last.py
    deps: [flaky.txt]
    metrics: [metrics.json]
"""
FLAKY = """
from pathlib import Path
tries = Path(__file__).parent / "tries"
count = int(tries.read_text()) + 1 if tries.exists() else 1
tries.write_text(str(count))
if count < 2:
    raise SystemExit("ConnectionError: the storage did not answer")
Path("flaky.txt").write_text("x")
"""
LAST = """
import json
estimate = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 3}
row = {name: estimate for name in ("accuracy", "contradiction", "fidelity")}
json.dump({"warmstart": {"test": row}, "released": {"test": row}}, open("metrics.json", "w"))
"""
BAD = 'import sys; open("tries", "a").write("x"); sys.exit("error: min_votes is wrong")'
CHECK = """
import asyncio, flows.pipeline as pipeline
from prefect.client.orchestration import get_client
original = pipeline.pipeline
def watched():
    try:
        original()
    finally:
        async def show():
            async with get_client() as client:
                print("ARTIFACTS", [a.key for a in await client.read_artifacts()])
                print("TASKS", sorted((t.name, t.state.type.value, t.run_count) for t in await client.read_task_runs()))
        asyncio.run(show())
pipeline.pipeline = watched
pipeline.main()
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text(PIPELINE)
    (tmp_path / "one.py").write_text('open("one.txt", "w").write("1")')
    (tmp_path / "flaky.py").write_text(FLAKY)
    (tmp_path / "last.py").write_text(LAST)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=tmp_path, check=True)
    return tmp_path


def run_flow(workspace: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(workspace / ".prefect"),
    }
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-c", CHECK]
    return subprocess.run(
        command, cwd=workspace, env=environment, text=True, capture_output=True, check=False, timeout=240
    )


@pytest.mark.timeout(300)
def test_stages_run_in_order_what_can_succeed_is_retried_and_metrics_are_an_artifact(workspace: Path) -> None:
    done = run_flow(workspace)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (workspace / "tries").read_text() == "2"
    assert "ARTIFACTS ['metrics']" in done.stdout
    assert "('flaky', 'COMPLETED', 2)" in done.stdout
    assert "('one', 'COMPLETED', 1)" in done.stdout
    assert "Error logging to API" not in done.stdout + done.stderr, "what was logged is sent before the server stops"
    assert (workspace / "dvc.lock").is_file()


@pytest.mark.timeout(300)
def test_bad_input_is_not_tried_again(workspace: Path) -> None:
    (workspace / "flaky.py").write_text(BAD)
    done = run_flow(workspace)
    assert done.returncode != 0
    assert (workspace / "tries").read_text() == "x"
    assert "min_votes is wrong" in done.stdout + done.stderr


def test_the_flow_takes_the_stages_from_the_pipeline() -> None:
    assert stage_names(ROOT / "dvc.yaml") == [
        "base", "ingest", "validate-votes", "filter", "validate-pairs", "shard",
        "warmstart", "listener", "prescore", "train", "evaluate", "measure", "report", "release",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("output", "again"),
    [
        ("ERROR: Unable to acquire lock. Most likely another DVC process is running", True),
        ("botocore.exceptions.EndpointConnectionError: Could not connect", True),
        ("error: unknown key train.stepz = 3", False),
        ("error: no pair is left", False),
        ("ERROR: failed to push: 503 Service Unavailable", True),
        ("error: none of 503 rows can be used", False),
        (
            "s3://b/k: attempt 3: SlowDown: busy; trying again for 90 s\nerror: there is no such bucket: NoSuchBucket",
            False,
        ),
    ],
)
def test_only_what_can_succeed_again_is_retriable(output: str, again: bool) -> None:
    assert may_pass(output) == again


def refusal(code: str, status: int) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "said"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "GetObject")


PASSING = [
    exceptions.EndpointConnectionError(endpoint_url="http://s3"),
    exceptions.ConnectTimeoutError(endpoint_url="http://s3"),
    exceptions.ReadTimeoutError(endpoint_url="http://s3"),
    exceptions.ProxyConnectionError(proxy_url="http://proxy"),
    aiohttp.ServerDisconnectedError(),
    ConnectionResetError("peer"),
    TimeoutError(),
    errors.ShortBodyError("1 bytes came of 2"),
    refusal("InternalError", 500),
    refusal("SlowDown", 503),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_a_stage_is_tried_again_when_the_storage_was_given_up(error: Exception) -> None:
    assert errors.may_pass(error)
    assert may_pass(f"error: {errors.too_late(error, 's3://bucket/key at http://s3', 9, 120.0)}")


@pytest.mark.parametrize("code", [*errors._MEANING, "InsufficientStorage", "InvalidArgument"])
def test_a_stage_is_not_tried_again_when_the_storage_refuses(code: str) -> None:
    assert not may_pass(f"error: {errors.explained(refusal(code, 403), 's3://bucket/key at http://s3')}")
    assert not may_pass(f"error: {errors.explained(exceptions.NoCredentialsError(), 's3://bucket/key')}")


def test_the_table_says_what_is_not_known() -> None:
    nothing = {"value": None, "low": None, "high": None, "n": 0}
    table = metrics_table({"released": {"ood": dict.fromkeys(("accuracy", "contradiction", "fidelity"), nothing)}})
    assert "| released | ood | - | - | - | 0 |" in table
