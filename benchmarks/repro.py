"""What `make repro` costs, against its budget: seconds per stage, peak memory, what doing nothing takes, help.

    python -m benchmarks.repro            # doing nothing and help alone
    python -m benchmarks.repro --forced   # every stage again first (half an hour)

Memory is the sum over all processes of the run, sampled every half second, shared pages counted once (PSS). The last line
is one JSON object. Given up: a cold disk cache and the installation.
"""

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import psutil

from suasion.params import ROOT

BUDGET = {
    "base": 130,
    "ingest": 20,
    "validate-votes": 10,
    "filter": 5,
    "validate-pairs": 10,
    "shard": 5,
    "warmstart": 400,
    "listener": 240,
    "prescore": 50,
    "train": 720,
    "evaluate": 300,
    "measure": 10,
    "report": 20,
    "release": 20,
}
"""Seconds that each stage may take on two cores; half an hour in all (docs/architecture.md)."""

DONE = re.compile(r"^\[([a-z-]+)\] done in (\d+) s", re.MULTILINE)
REPEATS = 3


def main() -> None:
    result: dict[str, Any] = {}
    if "--forced" in sys.argv[1:]:
        result |= forced()
    plain = [seconds([sys.executable, "-m", "dvc", "repro"]) for _ in range(REPEATS)]
    ours = [seconds(["make", "repro"]) for _ in range(REPEATS)]
    helps = [seconds([sys.executable.replace("python", "suasion"), "--help"]) for _ in range(REPEATS)]
    result |= {
        "noop_dvc_seconds": round(statistics.median(plain), 2),
        "noop_make_seconds": round(statistics.median(ours), 2),
        "noop_overhead_seconds": round(statistics.median(ours) - statistics.median(plain), 2),
        "help_seconds": round(statistics.median(helps), 3),
    }
    print(json.dumps(result))


def forced() -> dict[str, Any]:
    """Run every stage again; seconds in all and per stage, and the peak of memory."""
    started = time.monotonic()
    command = [sys.executable, "-m", "dvc", "repro", "--force"]
    peak = 0
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT)
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, memory(watched))
            time.sleep(0.5)
        log.seek(0)
        said = log.read()
    if process.returncode:
        raise SystemExit(said[-3000:])
    stages = {name: int(count) for name, count in DONE.findall(said)}
    return {
        "repro_seconds": round(time.monotonic() - started),
        "stage_seconds": stages,
        "over_budget": [name for name, took in stages.items() if took > BUDGET[name]],
        "peak_gib": round(peak / 2**30, 2),
    }


def memory(process: psutil.Process) -> int:
    """Bytes (PSS) of a process and all below it; those that end meanwhile count nothing."""
    total = 0
    try:
        tree = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for each in tree:
        try:
            total += each.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def seconds(command: list[str]) -> float:
    started = time.monotonic()
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
