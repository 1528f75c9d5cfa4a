"""Puts right what DVC leaves half written when it is killed, so that the next run starts. `make repro` and the flow call it.

DVC 3 writes `dvc.lock` and its table of locks in place, and makes the folder of a run in its run cache before what goes
into it; killed in these moments, it refuses to start again. It also leaves copies that it had not finished. All of this is
touched only while no other DVC holds the lock. Given up: a cache outside the project.
"""

import contextlib
import fcntl
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError


def mend(project: Path = Path()) -> list[str]:
    """Mend DVC's own files in `project`; returns what was done, in sentences, and does nothing while DVC is at work there."""
    folder = project / ".dvc"
    done: list[str] = []
    with _locked(folder / "tmp" / "lock") as free:
        if free:
            done += _lock_file(project)
            done += _run_cache(folder / "cache" / "runs")
            done += _copies(folder / "cache")
    with _locked(folder / "tmp" / "rwlock.lock") as free:
        if free:
            done += _table_of_locks(folder / "tmp" / "rwlock")
    return done


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Whether DVC's lock at `path` could be had; it is held meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _lock_file(project: Path) -> list[str]:
    """The last commit's takes the place of a `dvc.lock` that is cut off; what has run since, DVC finds in its run cache."""
    path = project / "dvc.lock"
    if not path.is_file() or _whole(path.read_bytes()):
        return []
    kept = subprocess.run(["git", "show", "HEAD:./dvc.lock"], cwd=project, capture_output=True, check=False)
    if kept.returncode == 0 and _whole(kept.stdout):
        path.write_bytes(kept.stdout)
        return ["dvc.lock was cut off when DVC was killed: it is now that of the last commit"]
    path.unlink()
    return ["dvc.lock was cut off when DVC was killed: it is removed, and DVC writes it anew"]


def _whole(content: bytes) -> bool:
    """Whether `content` is a dvc.lock that DVC reads."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(YAML(typ="safe").load(content))
    except (YAMLError, UnicodeDecodeError, Invalid):
        return False
    return True


def _table_of_locks(path: Path) -> list[str]:
    try:
        found: Any = json.loads(path.read_text()) if path.is_file() else {}
    except ValueError:
        found = None
    if isinstance(found, dict):
        return []
    path.unlink()  # it names the processes that were at work, and these are gone or will say so themselves
    return ["DVC's table of locks was cut off when DVC was killed: it is removed"]


def _run_cache(runs: Path) -> list[str]:
    halves = [*runs.glob("*/*/.*.tmp")]
    for path in halves:
        path.unlink()
    empty = [path for path in runs.glob("*/*") if path.is_dir() and not any(path.iterdir())]
    for path in empty:
        path.rmdir()
    return ["a run that DVC had not finished noting is removed from the run cache"] if halves or empty else []


def _copies(cache: Path) -> list[str]:
    halves = [*(cache / "files" / "md5").glob("**/.*.tmp")]
    for path in halves:
        path.unlink()
    return [f"{len(halves)} copies that DVC had not finished are removed from its cache"] if halves else []


if __name__ == "__main__":
    for what in mend():
        print(what)
