"""What the processes of a workspace are doing, read from /proc: who is there, and which files they are writing.

Given up: systems other than Linux, and processes that leave the workspace.
"""

import contextlib
import os
import signal
import time
from collections.abc import Iterable
from pathlib import Path

LOCKS = ".checkpoints/locks/"


def processes(workspace: Path, *, besides: int | None = None) -> dict[int, str]:
    """Live processes whose current folder is `workspace` or below, and their command lines."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or int(name) in (besides, os.getpid()):
            continue
        with contextlib.suppress(OSError):  # it ended meanwhile, or is a zombie and has no folder
            if f"{os.readlink(f'/proc/{name}/cwd')}/".startswith(f"{workspace}/"):
                command = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if command:  # none: it is ending
                    found[int(name)] = command.strip()
    return found


def open_for_writing(pid: int, workspace: Path) -> list[str]:
    """Files below `workspace` that process `pid` has open for writing; a stage's lock is none."""
    files = []
    with contextlib.suppress(OSError):
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
                name = target.removeprefix(f"{workspace}/")
                if name == target or name.startswith(LOCKS):
                    continue
                flags = int(Path(f"/proc/{pid}/fdinfo/{descriptor}").read_text().split("flags:")[1].split()[0], 8)
                if flags & os.O_ACCMODE != os.O_RDONLY:
                    files.append(name)
    return files


def freeze(workspace: Path, known: Iterable[int]) -> set[int]:
    """Stop every process of `workspace`, those `known` first, and those that are started meanwhile; returns them."""
    frozen, new = set[int](), set(known)
    while True:
        for pid in new:
            send(pid, signal.SIGSTOP)
        for pid in new:
            while _state(pid) not in "TtZX":  # one that waits for the disk stops when it is back
                time.sleep(0.0002)
        frozen |= new
        new = processes(workspace).keys() - frozen
        if not new:
            return frozen


def thaw(pids: Iterable[int]) -> None:
    for pid in pids:
        send(pid, signal.SIGCONT)


def send(pid: int, what: signal.Signals) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, what)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"
