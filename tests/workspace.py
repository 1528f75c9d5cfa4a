"""A clone of the project as a workspace, and the real DVC in it: what tests of whole runs share."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from suasion.params import ROOT


def clone(target: Path, params: str) -> Path:
    """The project's files as git sees them, in a repository of their own, with `params` as its params.yaml."""
    listed = subprocess.check_output(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, text=True
    )
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and name != "dvc.lock":
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    (target / "params.yaml").write_text(params)
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=target, check=True)
    return target


def dvc(workspace: Path, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start `dvc ARGUMENTS` in `workspace`; its output comes through a pipe unless `options` of Popen say otherwise."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(workspace),
        "PYTHONUNBUFFERED": "1",
        "SHELL": "/bin/sh",  # what DVC takes where no shell is set; dash starts a child where bash becomes it
    }
    command = [sys.executable, "-m", "dvc", *arguments]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | options
    return subprocess.Popen(command, cwd=workspace, env=environment, text=True, **options)


def run(workspace: Path, *arguments: str) -> str:
    """Run `dvc ARGUMENTS` to its good end; returns what it said."""
    process = dvc(workspace, *arguments)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    return output


def micro() -> str:
    """The parameters of a run of a minute or two."""
    return (ROOT / "tests" / "micro.yaml").read_text()
