"""`python -m flows.pipeline`: the DVC stages as tasks of a Prefect 3 flow, with retries for what can succeed again.

`dvc.lock` is the only cache: a task whose stage is up to date does nothing. A stage runs in a process group of its own,
which ends with the flow, grandchildren too. One embedded server (SQLite, its home in `.prefect/`) serves the whole run.
Given up: parallel stages; DVC allows one repro in a workspace, and data walks one way.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")  # a busy machine is slow to start one
os.environ.setdefault("PREFECT_HOME", str(Path.cwd() / ".prefect"))

import yaml
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.logging import get_run_logger

RETRIABLE = re.compile(
    r"Unable to acquire lock|Connection(?:Error| reset| refused)|timed? ?out|Temporary failure|ConnectTimeout"
    r"|the server cannot be reached|SlowDown|ServiceUnavailable|(?:502|503)[: ]+(?:Bad|Service|Slow)"
    r"|EndpointConnectionError",
    re.IGNORECASE,
)
"""What a stage's output says where the same stage may succeed later: DVC's lock, the network, the storage."""


class StageFailedError(Exception):
    """A stage ended with an error; `retriable` says whether trying again can help."""

    def __init__(self, name: str, code: int, output: str) -> None:
        super().__init__(f"stage {name} ended with exit code {code}:\n{output}")
        self.retriable = may_pass(output)


def may_pass(output: str) -> bool:
    """Whether the same stage may succeed later; what storage tried again itself on the way is not why it ended."""
    return any(RETRIABLE.search(line) for line in output.splitlines() if "; trying again for " not in line)


def _may_succeed_again(_: Any, __: Any, state: Any) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, StageFailedError) and error.retriable


@task(task_run_name="{name}", retries=3, retry_delay_seconds=[2, 10, 30], retry_condition_fn=_may_succeed_again)
def run_stage(name: str) -> None:
    """`dvc repro --single-item NAME`, its output in the task's log.

    Raises:
        StageFailedError: DVC or the stage ended with an error.
    """
    logger = get_run_logger()
    lines: list[str] = []
    command = [sys.executable, "-m", "dvc", "repro", "--single-item", name]
    with _own_group(command) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            logger.info(line.rstrip())
    if process.returncode != 0:
        raise StageFailedError(name, process.returncode, "".join(lines[-30:]))


@contextlib.contextmanager
def _own_group(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that leads a group, which is ended whole however the body is left."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    try:
        yield process
        process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@flow(name="suasion", log_prints=True)
def pipeline() -> None:
    """Every stage of `dvc.yaml` in order, then an artifact with the metrics."""
    from stages.mend import mend
    from suasion.votes.pin import pin_if_votes_changed  # polars need not be waited for to register a deployment

    for mended in mend():
        print(mended)
    if pinned := pin_if_votes_changed():
        print(f"other votes than in the last run: {pinned} prompts and images are pinned to their splits")
    for name in stage_names(Path("dvc.yaml")):
        run_stage(name)
    if Path("metrics.json").is_file():
        table = metrics_table(json.loads(Path("metrics.json").read_text()))
        create_markdown_artifact(key="metrics", markdown=table, description="Accuracy and fidelity with 95% intervals")


def stage_names(path: Path) -> list[str]:
    """The stages of a pipeline file, in the order in which they are written, which is the order of the data."""
    return list(yaml.safe_load(path.read_text())["stages"])


def metrics_table(metrics: dict[str, Any]) -> str:
    """Metrics as a Markdown table: a row per model and split, estimates with their intervals in percent."""
    rows = ["| model | split | accuracy | contradiction | fidelity | pairs |", "|---|---|---|---|---|---|"]
    for model in ("warmstart", "released", "sft"):
        for split, row in metrics.get(model, {}).items():
            said = " | ".join(_percent(row[name]) for name in ("accuracy", "contradiction", "fidelity"))
            rows.append(f"| {model} | {split} | {said} | {row['accuracy']['n']} |")
    return "\n".join(rows) + "\n"


def _percent(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return "-"
    return f"{estimate['value']:.1%} ({estimate['low']:.1%} to {estimate['high']:.1%})"


def main() -> None:
    from prefect.logging.handlers import APILogHandler
    from prefect.server.api.server import SubprocessASGIServer
    from prefect.settings import PREFECT_API_URL, temporary_settings

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.environ.get("PREFECT_API_URL"):
        pipeline()
        return
    server = SubprocessASGIServer()
    server.start()
    try:
        with temporary_settings({PREFECT_API_URL: server.api_url}):
            pipeline()
    finally:
        APILogHandler().flush()  # else the last lines are sent, again and again, to a server that has gone
        server.stop()


if __name__ == "__main__":
    main()
