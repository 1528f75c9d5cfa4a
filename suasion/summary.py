"""The closing lines of `make repro`: better or not, how sure, where the report and the release are, how to use it."""

import json
import shlex
from pathlib import Path
from typing import Any


def print_summary() -> None:
    """Print five lines from `metrics.json`."""
    metrics = json.loads(Path("metrics.json").read_text())
    before, after = metrics["warmstart"]["test"]["accuracy"], metrics["released"]["test"]["accuracy"]
    print()
    print(f"accuracy before training  {say(before)}")
    print(f"accuracy after training   {say(after)}")
    print("report                    report/index.html")
    print("released checkpoint       release/")
    print(f"use it                    {command()}")


def command() -> str:
    """What compares the two images of an example that the report leaves, ready for a shell."""
    example = Path("report/example")
    prompt = example / "prompt.txt"
    if not prompt.is_file():
        return '.venv/bin/suasion compare --model release --prompt "..." A.png B.png'
    said = shlex.quote(prompt.read_text(encoding="utf-8"))
    return f".venv/bin/suasion compare --model release --prompt {said} {example}/a.jpg {example}/b.jpg"


def say(estimate: dict[str, Any]) -> str:
    """An estimate in words: `63.1% (95% interval 60.2% to 66.0%, 498 pairs)`."""
    if estimate["value"] is None:
        return "unknown: no pair to measure it on"
    value, low, high = (f"{estimate[key]:.1%}" for key in ("value", "low", "high"))
    return f"{value} (95% interval {low} to {high}, {estimate['n']} test pairs)"
